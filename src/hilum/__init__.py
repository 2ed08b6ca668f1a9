"""Hilum learns to read chest radiographs from few labels. Research use, not a medical device."""
