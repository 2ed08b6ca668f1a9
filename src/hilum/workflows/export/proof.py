"""Does model.onnx compute what torch does? Measured on films, or the export is refused."""

from __future__ import annotations

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


def prove(data: bytes, films: NDArray[np.uint8], expected: FloatArray, films_from: str) -> Proof:
    """Compare model.onnx with torch: all films in batches of 1, 2 and 7, with the optimiser off and on.

    Args:
        data: The content of model.onnx.
        films: Prepared, uint8 [N, P, P].
        expected: torch's output for them, float32 [N, F].
        films_from: Their origin in words.

    Raises:
        RunError: A logit differs by more than LIMIT, or is not finite.
    """
    worst = 0.0
    for optimise in (False, True):
        runtime = session(data, optimise=optimise, name="model.onnx")
        for batch in BATCHES:
            for _ in range(RUNS):
                for start in range(0, len(films), batch):
                    given = films[start : start + batch, None]
                    logits = runtime.run(None, {FILM: given})[0]
                    difference = np.abs(logits - expected[start : start + batch]).max()
                    worst = max(worst, float("inf") if np.isnan(difference) else float(difference))
        if worst > LIMIT:
            raise RunError(
                f"model.onnx differs from torch by {worst:.2g} in a logit (at most {LIMIT:g} is allowed) with the "
                f"runtime's optimiser {'on' if optimise else 'off'}: nothing was written; train longer "
                "(weights that are still nearly random magnify rounding), or choose another --backbone."
            )
    return Proof(len(films), films_from, worst)
