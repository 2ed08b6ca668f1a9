"""Every stage on phantoms."""
