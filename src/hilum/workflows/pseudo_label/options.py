"""Options of rounds of pseudo-labels; light to import, since the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

from hilum.options import Device, refuse_below, take_fields
from hilum.workflows.train.labelling_options import PseudoOptions


@dataclass(frozen=True, kw_only=True)
class RoundTrainOptions:
    """Options of training that differ from the run's."""

    epochs: int | None = None
    """Epochs over the labelled and pseudo-labelled films, at most; the run's own number unless
    given."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: The number of epochs is below 1.
        """
        refuse_below(self, {"epochs": 1}, "train.")


@dataclass(frozen=True, kw_only=True)
class PseudoLabelOptions(PseudoOptions):
    """Options of rounds: labelling, training, and the output folder."""

    data: tuple[Path, ...]
    """The run's own stores, and further ones whose training films are labelled too; their own
    labels are not used."""
    out: Path
    """Run folder; unfinished rounds are resumed exactly."""
    rounds: int = 3
    """Rounds at most: in each the best model so far labels films, and training starts again from the
    run's initial weights."""
    patience: int = 1
    """Stop after that many rounds in a row without a better mean AUROC on validation films."""
    device: Device = "auto"
    """Device for labelling; training uses the run's own."""
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
        refuse_below(self, {"rounds": 1, "patience": 1})

    @property
    def labelling(self) -> PseudoOptions:
        """Which cells a model labels, and how."""
        return PseudoOptions(
            **{entry.name: getattr(self, entry.name) for entry in fields(PseudoOptions)}
        )
