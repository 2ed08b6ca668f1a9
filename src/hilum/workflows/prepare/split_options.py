"""How to divide a store; light to import, since the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass

from hilum.options import take_fields


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """How to divide a store's patients."""

    seed: int = 0
    """Seed of the random split."""
    test: float = 0.2
    """Fraction of the patients for testing."""
    val: float = 0.1
    """Fraction of the patients for validation: thresholds and early stopping."""
    fractions: tuple[float, ...] = (0.01, 0.1, 0.5, 1.0)
    """Labelled fractions whose sizes are reported; runs may take any other."""

    def __post_init__(self) -> None:
        """Take a text for a path and a single value for a list.

        Raises:
            TypeError: A path or list is something else.
        """
        take_fields(self)
