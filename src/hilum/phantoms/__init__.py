"""Drawn radiographs with known findings and masks, in CheXpert's own layout."""
