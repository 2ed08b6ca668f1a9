"""Heatmaps: which regions raised a model's score."""
