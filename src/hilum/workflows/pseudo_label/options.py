"""What rounds of pseudo-labels can be told; light to import, since the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

from hilum.errors import OptionError
from hilum.options import Device, take_fields
from hilum.workflows.train.labelling_options import PseudoOptions


@dataclass(frozen=True, kw_only=True)
class RoundTrainOptions:
    """What of the training differs from the run's."""

    epochs: int | None = None
    """Passes over the labelled and pseudo-labelled films, at most; the run's own number unless
    given."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: The number of passes is below 1.
        """
        if self.epochs is not None and self.epochs < 1:
            raise OptionError(f"--train.epochs is {self.epochs}: allowed is 1 or more.")


@dataclass(frozen=True, kw_only=True)
class PseudoLabelOptions(PseudoOptions):
    """How rounds label films and train on them, and where to."""

    data: tuple[Path, ...]
    """The run's own stores, and further ones whose training films are labelled too; their own
    labels are not used."""
    out: Path
    """Run folder; unfinished rounds are continued exactly."""
    rounds: int = 3
    """Rounds at most: in each the model kept so far labels, and training starts again from the
    run's own start."""
    patience: int = 1
    """End after that many rounds in a row without a better mean AUROC on validation films."""
    device: Device = "auto"
    """Where to compute what films are labelled by; the training has the run's own place."""
    train: RoundTrainOptions = field(default_factory=RoundTrainOptions)
    """The training of each round."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
            TypeError: A path or list is something else.
        """
        take_fields(self)
        super().__post_init__()
        for name in ("rounds", "patience"):
            if getattr(self, name) < 1:
                raise OptionError(f"--{name} is {getattr(self, name)}: allowed is 1 or more.")

    @property
    def labelling(self) -> PseudoOptions:
        """Which cells a model labels, and how."""
        return PseudoOptions(
            **{entry.name: getattr(self, entry.name) for entry in fields(PseudoOptions)}
        )
