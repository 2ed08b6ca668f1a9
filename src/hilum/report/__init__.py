"""Results to HTML pages."""
