"""Options of the training loop; light to import, since the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hilum.errors import OptionError
from hilum.options import refuse_below


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How long, how fast and how exactly to train."""

    epochs: int = 20
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
