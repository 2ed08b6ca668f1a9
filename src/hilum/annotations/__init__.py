"""Annotations: masks and boxes of findings, by radiologists or of phantoms."""
