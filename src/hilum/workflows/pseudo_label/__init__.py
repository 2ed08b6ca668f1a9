"""Rounds of pseudo-labelling."""
