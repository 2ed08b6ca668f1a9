"""Measures as pure functions of labels and scores."""
