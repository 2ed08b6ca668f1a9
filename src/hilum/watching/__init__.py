"""A watched folder: an archive's films in, a secondary capture and a structured report of each out, once."""
