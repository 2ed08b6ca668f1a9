"""Data sets as they lie on disk, each read into a Catalog."""
