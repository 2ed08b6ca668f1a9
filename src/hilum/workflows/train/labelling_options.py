"""Options of pseudo-labels; light to import, since the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass

from hilum.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class PseudoOptions:
    """Which labels a model gives, and their weight."""

    precision: float = 0.9
    """Precision of the films called present that is required."""
    absent_precision: float = 0.95
    """Precision of the films called absent that is required; at least 1 minus half the finding's
    prevalence."""
    level: float = 0.95
    """Confidence level at which validation films must show those precisions, from 0.5 to below 1."""
    soft: bool = False
    """Use the model's probability as the target in place of 1 or 0."""
    abstain: bool = True
    """Leave out films between the two thresholds; else every film is labelled, at 0.5, and no
    precision is required."""
    cap: float = 2.0
    """Factor by which pseudo-labels may change the ratio of present to absent; 0 for no bound."""
    weight: float = 1.0
    """Weight of a pseudo-label in the loss; a label has 1."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
        """
        for name in ("precision", "absent_precision", "level"):
            if not 0.5 <= getattr(self, name) < 1:
                raise OptionError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}: allowed is 0.5 to below 1, such as 0.9."
                )
        if not (self.cap == 0 or 1 <= self.cap < float("inf")):
            raise OptionError(
                f"--cap is {self.cap}: allowed is 1 or more, such as 2, or 0 for no bound."
            )
        if not 0 < self.weight <= 100:
            raise OptionError(f"--weight is {self.weight}: allowed is above 0 to 100, such as 1.")
