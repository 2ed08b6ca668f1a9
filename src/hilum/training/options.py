"""Options of the training loop; light to import, since the command line's help reads them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from hilum.errors import OptionError
from hilum.options import refuse_below, take_fields

EPOCHS = 20
"""Epochs of pretraining unless a length is given."""


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """How long, how fast and how exactly to train: what pretraining and fine-tuning share."""

    epochs: int | None = None
    """Epochs: how often each film is trained on."""
    batch_size: int = 64
    """Films of a batch; the effective batch is this x accumulate."""
    size: int | None = None
    """Height and width of the network's input in pixels; by default the store's."""
    optimiser: Literal["adamw", "sgd", "lars"] = "adamw"
    """AdamW, SGD with momentum, or LARS (for batches of about a thousand and more)."""
    lr: float = 1e-3
    """Peak learning rate: about 0.001 for adamw, 0.03 for sgd, 0.3 to 5 for lars."""
    weight_decay: float = 1e-4
    """Weight decay, decoupled in adamw; not applied to norms and biases."""
    momentum: float = 0.9
    """Fraction of the last step that sgd and lars keep."""
    schedule: Literal["cosine", "onecycle"] = "cosine"
    """Learning rate: warm-up then cosine to zero, or OneCycle."""
    warmup: float = 0.1
    """Fraction of the steps in which the rate rises."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 is no limit."""
    accumulate: int = 1
    """Batches whose gradients make one step. The moving average moves once a step, the queue once a
    batch."""
    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"
    """Arithmetic inside the network: 32, bf16-mixed or 16-mixed (GPU)."""
    compile: bool = False
    """Compile the backbone: minutes at the start, then faster on most GPUs. Needs a compiler."""
    channels_last: bool = True
    """Channels-last memory layout of images, faster for convolutions."""
    seed: int = 0
    """Seed of weights, order and augmentation."""
    log_every: int = 10
    """Steps between two lines of log.jsonl."""
    checkpoint_every: int = 0
    """Steps between two checkpoints; 0 means at the end of each epoch."""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to train on."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
        """
        refuse_below(self, _SMALLEST, "train.")
        if self.seed > _LARGEST_SEED:
            raise OptionError(f"--train.seed is {self.seed}: allowed is 0 to {_LARGEST_SEED}.")
        if not 0 < self.lr < float("inf"):
            raise OptionError(f"--train.lr is {self.lr}: allowed is above 0, such as 0.001.")
        for name in ("warmup", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise OptionError(
                    f"--train.{name} is {getattr(self, name)}: allowed is 0 to below 1."
                )


@dataclass(frozen=True, kw_only=True)
class TrainOptions(LoopOptions):
    """How long, how fast and how exactly to pretrain."""

    epochs: int | None = None
    """Epochs: how often each film is trained on; 20, unless --train.crops gives the length."""
    crops: int | None = None
    """Length of the training in crops (augmented views) seen, such as 2000000, instead of epochs."""
    sizes: tuple[int, ...] | None = None
    """Heights and widths in pixels of the crops, increasing during training (progressive resizing), such
    as 32 48 64; the last is the network's input size."""
    size_shares: tuple[float, ...] | None = None
    """Fraction of the steps at each of the sizes; by default equal."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work; without a length, the epochs are EPOCHS.

        Raises:
            OptionError: An option lies outside its range, or two contradict each other.
        """
        take_fields(self)
        super().__post_init__()
        refuse_below(self, {"crops": 1}, "train.")
        if self.crops is None and self.epochs is None:
            object.__setattr__(self, "epochs", EPOCHS)
        if self.crops is not None and self.epochs is not None:
            raise OptionError(
                f"--train.epochs is {self.epochs} and --train.crops is {self.crops}: both say how long to train; "
                "allowed is one of them (--train.epochs none, where a config has epochs)."
            )
        self._check_sizes()

    def _check_sizes(self) -> None:
        sizes, shares = self.sizes, self.size_shares
        if sizes is None:
            if shares is not None:
                raise OptionError("--train.size-shares needs --train.sizes: give both or neither.")
            return
        shown = " ".join(map(str, sizes))
        if not sizes or min(sizes) < _SMALLEST["size"] or any(a >= b for a, b in pairwise(sizes)):
            raise OptionError(
                f"--train.sizes is {shown or 'empty'}: allowed are increasing sizes of {_SMALLEST['size']} px or more, "
                "such as 32 48 64."
            )
        if self.size not in (None, sizes[-1]):
            raise OptionError(
                f"--train.size is {self.size} and --train.sizes is {shown}: the last of the sizes is the network's "
                "input size; leave --train.size out."
            )
        if shares is None:
            return
        if len(shares) != len(sizes) or not all(share > 0 for share in shares):
            raise OptionError(
                f"--train.size-shares is {' '.join(map(str, shares))}: allowed is one number above 0 for each of "
                f"the {len(sizes)} sizes {shown}."
            )
        if not math.isclose(math.fsum(shares), 1, abs_tol=0.01):
            raise OptionError(
                f"--train.size-shares is {' '.join(map(str, shares))}, which sums to {math.fsum(shares):g}: "
                "allowed are fractions that sum to 1."
            )


_LARGEST_SEED = 2**32 - 1
_SMALLEST = {
    "epochs": 1,
    "batch_size": 2,
    "size": 16,
    "weight_decay": 0,
    "clip": 0,
    "accumulate": 1,
    "seed": 0,
    "log_every": 1,
    "checkpoint_every": 0,
}
