"""``hilum evaluate``: measure a classifier."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hilum.cli.shared import FLAT, RESEARCH_ONLY, UNSHARED, Shared, answer
from hilum.cli.terminal.comparison import comparison_text
from hilum.cli.terminal.console import listening
from hilum.cli.terminal.evaluation_details import details_text
from hilum.cli.terminal.results import evaluation_text
from hilum.workflows.evaluate.options import EvaluateOptions

if TYPE_CHECKING:
    from hilum.workflows.evaluate.compare import CompareResult
    from hilum.workflows.evaluate.evaluate import EvaluateResult

RUN = Parameter(help="Folder of a fine-tuned run.")
AGAINST = Parameter(
    help="Another fine-tuned run, evaluated on the same films: gives the differences."
)
SUBGROUPS = Parameter(
    help="Print the table of subgroups by sex, age and view position too.", negative=""
)
OPERATING_POINTS = Parameter(
    help="Print counts and rates at each threshold too: Youden's, sensitivity 0.9, specificity 0.9.",
    negative="",
)


def evaluate(
    run: Annotated[Path, RUN],
    /,
    *,
    options: Annotated[EvaluateOptions, FLAT],
    against: Annotated[Path | None, AGAINST] = None,
    subgroups: Annotated[bool, SUBGROUPS] = False,
    operating_points: Annotated[bool, OPERATING_POINTS] = False,
    shared: Shared = UNSHARED,
) -> None:
    """Evaluate a classifier on films that it was not trained on, with intervals over patients.

    Prints the table, saves the predictions and adds to the run's metrics.json, which has
    calibration, operating points, subgroups and scores by study too. Works on another data set,
    whose findings are mapped by name. Research use only, not a medical device.

    Examples:
      hilum evaluate runs/moco-10 --data stores/nih14
      hilum evaluate runs/moco-10 --data stores/nih14 --against runs/scratch-10
      hilum evaluate runs/moco-10 --data stores/nih14 --subgroups
      hilum evaluate runs/moco-10 --data nih14 --operating-points --prevalence 0.05
      hilum evaluate runs/moco-10 --data stores/kermany --split all --json
    """
    from hilum.workflows.evaluate.compare import compare
    from hilum.workflows.evaluate.evaluate import evaluate as measure

    with listening() as listener:
        compared = None if against is None else compare(run, against, options, listener)
        result = measure(run, options, listener) if compared is None else compared.first
        for line in result.lines if compared is None else _lines(run, against, compared):
            listener.note(line)
    text = [_text(result, subgroups, operating_points)]
    if compared is not None:
        text.append(f"\n{comparison_text(str(run), str(against), compared)}\n")
    answer(shared, compared or result, "\n".join([*text, RESEARCH_ONLY, str(result.predictions)]))


def _text(result: "EvaluateResult", subgroups: bool, operating_points: bool) -> str:
    table = f"{result.name}: {evaluation_text(result.evaluation, result.not_called)}"
    table = "\n".join([table, *result.call_notes])
    return (
        f"{table}\n{details_text(result.details, result.evaluation, subgroups, operating_points)}"
    )


def _lines(run: Path, against: Path | None, compared: "CompareResult") -> list[str]:
    """Return what is to be said of either run's evaluation, with its name before it."""
    both = ((run, compared.first), (against, compared.second))
    return [f"{name}: {line}" for name, result in both for line in result.lines]
