"""What counts as a copy; light to import, since the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass

from hilum.errors import OptionError


@dataclass(frozen=True)
class CopyOptions:
    """What counts as a copy of a film."""

    correlation: float = 0.935
    """Smallest correlation of the aligned fine structure of near copies from two patients."""
    same_patient: float = 0.99
    """The same for two films of one patient, whose follow-up films are similar without being copies."""
    near: bool = True
    """Search for near copies too; otherwise only for films of equal pixels, which reads no film."""

    def __post_init__(self) -> None:
        """Refuse limits that are no correlations.

        Raises:
            OptionError: One is not above 0 and below 1.
        """
        for name in ("correlation", "same_patient"):
            if not 0 < (limit := getattr(self, name)) < 1:
                raise OptionError(
                    f"{name} is {limit}: give a number above 0 and below 1, such as 0.95."
                )
