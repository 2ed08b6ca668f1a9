"""``hilum evaluate``: measure a classifier."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hilum.cli.console import listening
from hilum.cli.evaluation_details import details_text
from hilum.cli.results import evaluation_text
from hilum.cli.shared import FLAT, RESEARCH_ONLY, UNSHARED, Shared, answer
from hilum.workflows.options import EvaluateOptions

if TYPE_CHECKING:
    from hilum.workflows.evaluate import EvaluateResult

RUN = Parameter(help="Folder of a fine-tuned run.")
SUBGROUPS = Parameter(help="Print the table of subgroups by sex, age and view position too.", negative="")
OPERATING_POINTS = Parameter(
    help="Print what is called at each threshold too: Youden's, sensitivity 0.9, specificity 0.9.", negative=""
)


def evaluate(
    run: Annotated[Path, RUN],
    /,
    *,
    options: Annotated[EvaluateOptions, FLAT],
    subgroups: Annotated[bool, SUBGROUPS] = False,
    operating_points: Annotated[bool, OPERATING_POINTS] = False,
    shared: Shared = UNSHARED,
) -> None:
    """Measure a classifier on films it never saw, with intervals over patients.

    Prints the table, saves the predictions and adds to the run's metrics.json, which has calibration, operating points,
    subgroups and scores by study too. Works on another data set, whose findings are mapped by name. Research use only,
    not a medical device.

    Examples:
      hilum evaluate runs/moco-10 --data stores/nih14
      hilum evaluate runs/moco-10 --data stores/nih14 --subgroups
      hilum evaluate runs/moco-10 --data nih14 --operating_points --prevalence 0.05
      hilum evaluate runs/moco-10 --data stores/kermany --split all --json
    """
    from hilum.workflows.evaluate import evaluate as measure

    with listening() as listener:
        result = measure(run, options, listener)
        for line in result.lines:
            listener.note(line)
    answer(shared, result, _text(result, subgroups, operating_points))


def _text(result: "EvaluateResult", subgroups: bool, operating_points: bool) -> str:
    table = f"{result.name}: {evaluation_text(result.evaluation)}"
    details = details_text(result.details, result.evaluation, subgroups, operating_points)
    return "\n".join([table, details, RESEARCH_ONLY, str(result.predictions)])
