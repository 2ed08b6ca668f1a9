"""The options of the classifier's loss; light to import, since the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hilum.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How far a pretrained network may move from where it starts."""

    backbone_rate: float = 1.0
    """The backbone's learning rate as a fraction of the output layer's."""
    layer_decay: float = 1.0
    """The factor from each stage's rate to that of the stage before it."""
    keep_norm: bool = False
    """Keep the batch-norm statistics of the initial weights."""
    average: float = 0.0
    """Decay of the moving average of the weights, which is the model; 0 takes the weights themselves."""
    probe_first: bool = False
    """Start at a linear probe, which is a candidate."""
    unlabelled: int = 0
    """Films of each batch, its last, that teach by soft targets instead of labels."""
    soft_weight: float = 1.0
    """Weight of their loss."""
    starts: int = 0
    """How many further networks' probabilities their targets are the mean of."""


EVERYTHING = Tuning()
"""All of the network, at one rate."""


@dataclass(frozen=True, kw_only=True)
class LossOptions:
    """The loss of the classifier."""

    name: Literal["bce", "focal"] = "bce"
    """Binary cross-entropy, or focal loss, which gives less weight to easy cases."""
    gamma: float = 2.0
    """Exponent of the focal loss; 0 gives easy cases full weight."""
    alpha: float = 0.25
    """Weight of present labels in the focal loss; absent ones have 1 - alpha; 0.5 is equal."""
    positive_weight: Literal["none", "balanced"] | float = "none"
    """Weight of present labels relative to absent ones: none (1), balanced (absent over present
    labels of the finding among the training films, at most 100), or a number."""
    beta: float = 0.0
    """Class-balanced weights by the effective number of labels, such as 0.999; 0 is equal
    weights."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range, or two weigh the classes.
        """
        if not 0 <= self.gamma <= 10:
            raise OptionError(f"--loss.gamma is {self.gamma}: allowed is 0 to 10, such as 2.")
        if not 0 < self.alpha < 1:
            raise OptionError(
                f"--loss.alpha is {self.alpha}: allowed is above 0 to below 1, such as 0.25."
            )
        if not 0 <= self.beta < 1:
            raise OptionError(
                f"--loss.beta is {self.beta}: allowed is 0 to below 1, such as 0.999."
            )
        self._check_positive_weight()

    def _check_positive_weight(self) -> None:
        weight = self.positive_weight
        number = not isinstance(weight, str) and 0 < weight < float("inf")
        if not number and weight not in ("none", "balanced"):
            raise OptionError(
                f"--loss.positive-weight is {weight}: allowed are none, balanced or a number above 0."
            )
        if self.beta and weight != "none":
            raise OptionError(
                "--loss.positive-weight and --loss.beta both weigh the classes: give one of them."
            )
