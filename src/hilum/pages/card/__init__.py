"""The page of a data card."""
