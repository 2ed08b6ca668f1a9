"""The whole story on phantoms."""
