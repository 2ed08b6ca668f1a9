"""Measurements that take turns, so that whatever slows the machine slows all of them, and the ratios of neighbours."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from hilum.listener import Listener

Step = Callable[[], None]
Block = Callable[[int], float]
"""Takes so many steps and returns the seconds that they took."""


def synchronise() -> None:
    """Wait for the device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def repeat(step: Step, steps: int) -> float:
    """Take so many steps and return the seconds."""
    synchronise()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    synchronise()
    return time.perf_counter() - began


@dataclass
class Turns(Listener):
    """Listens to the Trainer: after each block of its steps the others have their turn, inside the call.

    The Trainer has waited for the device and written its log before it calls. ``before`` and
    ``after`` are the blocks run before and after the Trainer's in the first round; they change
    places, and each its order, from round to round.

    Attributes:
        seconds: By block and round, the first round (a warm-up) included.
        cpu: The same in processor seconds of all threads of this process.
        turn_began: When the Trainer's last turn began; after the last round, when it went on to its
            last checkpoint.
    """

    steps: int
    before: dict[str, Block]
    after: dict[str, Block]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    turn_began: float = 0.0

    def begin(self) -> None:
        """Run what comes before the Trainer; call this, then let it train."""
        self._run(self.before)
        self._start()

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:  # noqa: ARG002
        """Hear that the Trainer logged; at a block's end let the others have their turns."""
        if not done or done % self.steps:
            return
        self._note(
            "pipeline", time.perf_counter() - self.turn_began, time.process_time() - self._cpu_began
        )
        self._run(self.after)
        self.before, self.after = _backwards(self.after), _backwards(self.before)
        if done < total:
            self._run(self.before)
        self._start()

    def _start(self) -> None:
        self.turn_began, self._cpu_began = time.perf_counter(), time.process_time()

    def _run(self, blocks: dict[str, Block]) -> None:
        for name, block in blocks.items():
            cpu = time.process_time()
            seconds = block(self.steps)
            self._note(name, seconds, time.process_time() - cpu)

    def _note(self, name: str, seconds: float, cpu: float) -> None:
        self.seconds.setdefault(name, []).append(seconds)
        self.cpu.setdefault(name, []).append(cpu)


def _backwards(blocks: dict[str, Block]) -> dict[str, Block]:
    return dict(reversed(blocks.items()))


def paired(over: Sequence[float], under: Sequence[float]) -> dict[str, Any]:
    """Return the median of the rounds' ratios and their spread, leaving the first round out."""
    ratios = [above / below for above, below in zip(over[1:], under[1:], strict=True)]
    lower, median, upper = (
        statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    )
    spread = {
        "min": min(ratios),
        "lower_quartile": lower,
        "median": median,
        "upper_quartile": upper,
        "max": max(ratios),
    }
    return {name: round(value, 4) for name, value in spread.items()}
