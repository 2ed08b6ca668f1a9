"""Loss, gradient norm and speed of the steps; values stay on the device until they are read."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hilum.errors import RunError
from hilum.nn.collectives import mean_over_processes


@dataclass(frozen=True)
class Reading:
    """Steps since the last reading: mean loss (nats), mean gradient norm, films, seconds, fraction spent waiting."""

    loss: float
    gradient_norm: float
    films: int
    seconds: float
    waiting: float


class StepMeter:
    """Collects losses and gradient norms; stops the run when one is not finite."""

    def __init__(self, lr: float, skips_overflow: bool) -> None:
        """Begin.

        Args:
            lr: Peak learning rate, named in the error.
            skips_overflow: Whether a loss scaler handles overflowing gradients (16-mixed).
        """
        self.lr, self.skips_overflow = lr, skips_overflow
        self._reset()

    def _reset(self) -> None:
        self.losses: list[Tensor] = []
        self.norms: list[Tensor] = []
        self.films, self.waited, self.started = 0, 0.0, time.perf_counter()

    def add(self, loss: Tensor, norm: Tensor, films: int, waited: float) -> None:
        """Add a step: its loss and gradient norm (scalars on the device), films, and seconds spent waiting."""
        self.losses.append(loss)
        self.norms.append(norm)
        self.films += films
        self.waited += waited

    def restart_clock(self) -> None:
        """Exclude the time since the last reading from the rate."""
        self.started = time.perf_counter()

    def read(self, step: int) -> Reading | None:
        """Return the means since the last reading, None without a step; waits for the device.

        Raises:
            RunError: A loss or a gradient was not finite; ``step`` is the last of the steps.
        """
        if not self.losses:
            return None
        losses = mean_over_processes(torch.stack(self.losses).float()).tolist()
        # The gradients are the processes' mean already.
        norms = torch.stack(self.norms).float().tolist()
        self._refuse_non_finite(step, losses, norms)
        seconds = max(time.perf_counter() - self.started, 1e-9)
        reading = Reading(_mean(losses), _mean(norms), self.films, seconds, self.waited / seconds)
        self._reset()
        return reading

    def refuse_bad_weights(self, step: int, learner: nn.Module) -> None:
        """Check the weights that are about to be saved; waits for the device.

        Raises:
            RunError: A weight or statistic is not finite.
        """
        norms = [
            tensor.norm() for tensor in learner.state_dict().values() if tensor.is_floating_point()
        ]
        if not bool(torch.stack(norms).isfinite().all()):
            raise self._error("weights are not finite", step)

    def _refuse_non_finite(self, step: int, losses: list[float], norms: list[float]) -> None:
        checked = {"loss": losses} if self.skips_overflow else {"loss": losses, "gradient": norms}
        for what, values in checked.items():
            for index, value in enumerate(values):
                if not math.isfinite(value):
                    raise self._error(f"{what} is {value}", step - len(values) + 1 + index)

    def _error(self, fault: str, step: int) -> RunError:
        return RunError(
            f"the {fault} at step {step} (peak learning rate {self.lr:g}): nothing bad was saved. "
            f"Start again in another --out with a lower --train.lr, such as {self.lr / 10:g}."
        )


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
