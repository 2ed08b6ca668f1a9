"""Inline SVG charts and pictures."""
