"""Does model.onnx compute what torch does? Measured on films, or the export is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.arrays import FloatArray
from hilum.bundle.onnx_model import session
from hilum.errors import RunError
from hilum.workflows.export.graph import FILM

LIMIT = 1e-4
"""Largest difference of any output from torch's."""
BATCHES = (1, 2, 7)
RUNS = 3
"""How often each batch is computed: what is random differs from run to run."""
OPTIMISED = (False, True)


@dataclass(frozen=True)
class Proof:
    """How far model.onnx was from torch on films."""

    films: int
    films_from: str
    """Where they come from, in words."""
    largest_difference: float
    """Of any logit (or feature) of any film, batch, run and setting of the optimiser."""
    batches: tuple[int, ...] = BATCHES
    runs: int = RUNS
    limit: float = LIMIT
    optimiser: tuple[str, ...] = ("off", "on")


def plan(films: int) -> list[tuple[int, int]]:
    """Return for each round its batch and how many of the films it takes, from the first.

    All films go through once, in the largest batch; other rounds take what fills one batch more than
    twice, so that the last is a ragged one: a network that takes seconds a film is proven in minutes.

    >>> plan(14)
    [(7, 14), (1, 3), (2, 5), (1, 3), (2, 5), (7, 8), (1, 3), (2, 5), (7, 8)]
    """
    largest = max(BATCHES)
    others = [(1, 3), (2, 5), (largest, largest + 1)]
    rounds = [(largest, films), *others[:-1], *(others * (RUNS - 1))]
    return [(batch, min(count, films)) for batch, count in rounds]


def prove(
    data: bytes,
    films: NDArray[np.uint8],
    expected: FloatArray,
    films_from: str,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Proof:
    """Compare model.onnx with torch: films in batches of 1, 2 and 7, several times, with the optimiser off and on.

    Args:
        data: The content of model.onnx.
        films: Prepared, uint8 [N, P, P].
        expected: torch's output for them, float32 [N, F].
        films_from: Their origin in words.
        progress: Told how many of how many computations of a film are done.

    Raises:
        RunError: A logit differs by more than LIMIT, or is not finite.
    """
    worst, done, rounds = 0.0, 0, plan(len(films))
    total = len(OPTIMISED) * sum(count for _, count in rounds)
    progress(0, total)
    for optimise in OPTIMISED:
        runtime = session(data, optimise=optimise, name="model.onnx")
        for batch, count in rounds:
            for start in range(0, count, batch):
                given = films[start : min(start + batch, count), None]
                logits = runtime.run(None, {FILM: given})[0]
                difference = np.abs(logits - expected[start : start + len(given)]).max()
                worst = max(worst, float("inf") if np.isnan(difference) else float(difference))
                done += len(given)
                progress(done, total)
        if worst > LIMIT:
            raise RunError(
                f"model.onnx differs from torch by {worst:.2g} in a logit (at most {LIMIT:g} is allowed) with the "
                f"runtime's optimiser {'on' if optimise else 'off'}: nothing was written; train longer "
                "(weights that are still nearly random magnify rounding), or choose another --backbone."
            )
    return Proof(len(films), films_from, worst)
