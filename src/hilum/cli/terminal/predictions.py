"""Predictions as text: a table for each film."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hilum.cli.terminal.results import MISSING, NEVER
from hilum.cli.terminal.tables import aligned

if TYPE_CHECKING:
    from hilum.workflows.inference.predict import PredictResult


def predictions_text(result: "PredictResult") -> str:
    """Return a table for each film: its findings with probability and threshold, and which are called."""
    return "\n".join(_tables(result))


def _tables(result: "PredictResult") -> Iterator[str]:
    for film in result.predictions:
        rows = []
        for finding, probability in film.probabilities.items():
            threshold = result.thresholds.get(finding)
            called = "called" if finding in film.called else MISSING
            shown = NEVER if threshold is None else f"{threshold:.3f}"
            rows.append([finding, f"{probability:.3f}", shown, called])
        yield ""
        yield f"{film.film}, looks {film.looks_like}" if film.looks_like else film.film
        yield aligned(["finding", "probability", "threshold", ""], rows)
