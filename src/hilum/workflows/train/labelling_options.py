"""What pseudo-labels can be told; light to import, since the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass

from hilum.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class PseudoOptions:
    """Which cells a model labels, and how."""

    precision: float = 0.9
    """Share of the films called present that shall have the finding."""
    absent_precision: float = 0.95
    """Share of the films called absent that shall lack it; at least 1 less half of its
    prevalence."""
    level: float = 0.95
    """Certainty with which validation films must show those shares, from 0.5 to below 1."""
    soft: bool = False
    """Aim at the model's probability in place of 1 or 0."""
    abstain: bool = True
    """Leave out films between the two thresholds; else every film is labelled, at 0.5, and no share
    is promised."""
    cap: float = 2.0
    """Factor by which pseudo-labels may change the ratio of present to absent; 0 for no bound."""
    weight: float = 1.0
    """What a pseudo-label weighs beside a label."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
        """
        for name in ("precision", "absent_precision", "level"):
            if not 0.5 <= getattr(self, name) < 1:
                raise OptionError(
                    f"--{name} is {getattr(self, name)}: allowed is 0.5 to below 1, such as 0.9."
                )
        if not (self.cap == 0 or 1 <= self.cap < float("inf")):
            raise OptionError(
                f"--cap is {self.cap}: allowed is 1 or more, such as 2, or 0 for no bound."
            )
        if not 0 < self.weight <= 100:
            raise OptionError(f"--weight is {self.weight}: allowed is above 0 to 100, such as 1.")
