"""Measuring classifiers and frozen features."""
