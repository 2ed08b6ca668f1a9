"""How to divide a store; light to import, since the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """How to divide a store's patients."""

    seed: int = 0
    """Seed of the draw."""
    test: float = 0.2
    """Share of the patients to measure on."""
    val: float = 0.1
    """Share of the patients to choose thresholds and stopping by."""
    fractions: tuple[float, ...] = (0.01, 0.1, 0.5, 1.0)
    """Shares of the training patients whose sizes are written down; any other can be asked for
    later."""
