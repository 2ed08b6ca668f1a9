"""Predictions, heatmaps and features of images."""
