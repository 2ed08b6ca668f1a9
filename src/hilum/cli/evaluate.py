"""``hilum evaluate``: measure a classifier."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hilum.cli.console import listening
from hilum.cli.results import evaluation_text
from hilum.cli.shared import FLAT, RESEARCH_ONLY, UNSHARED, Shared, answer
from hilum.workflows.options import EvaluateOptions

if TYPE_CHECKING:
    from hilum.workflows.evaluate import EvaluateResult

RUN = Parameter(help="Folder of a fine-tuned run.")


def evaluate(
    run: Annotated[Path, RUN],
    /,
    *,
    options: Annotated[EvaluateOptions, FLAT],
    shared: Shared = UNSHARED,
) -> None:
    """Measure a classifier on films it never saw, with intervals over patients.

    Prints the table, saves the predictions and adds to the run's metrics.json. Works on another data set too, whose
    findings are mapped by name. Research use only, not a medical device.

    Examples:
      hilum evaluate runs/moco-10 --data stores/nih14
      hilum evaluate runs/moco-10 --data stores/kermany --split all --json
    """
    from hilum.workflows.evaluate import evaluate as measure

    with listening() as listener:
        result = measure(run, options, listener)
        for line in result.lines:
            listener.note(line)
    answer(shared, result, _text(result))


def _text(result: "EvaluateResult") -> str:
    return f"{result.name}: {evaluation_text(result.evaluation)}\n{RESEARCH_ONLY}\n{result.predictions}"
