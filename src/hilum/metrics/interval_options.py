"""How measures get their intervals, and when a finding has enough patients; light to import."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class IntervalOptions:
    """The bootstrap over patients behind every interval, and what a finding needs to enter a mean."""

    resamples: int = 2000
    """Resamples of the patients; 0 leaves out the intervals."""
    seed: int = 0
    """Seed of the bootstrap. The same seed and patients give the same resamples for another
    model."""
    level: float = 0.95
    """Confidence level of the intervals."""
    min_positives: int = 20
    """Positive patients that a finding needs to enter the means and to be tested."""


DEFAULTS = IntervalOptions()
