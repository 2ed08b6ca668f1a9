"""``hilum probe``: measure frozen features."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hilum.cli.shared import FLAT, RESEARCH_ONLY, UNSHARED, Shared, answer
from hilum.cli.terminal.console import listening
from hilum.cli.terminal.results import cell_text, difference_text, estimate_text
from hilum.cli.terminal.tables import aligned
from hilum.workflows.evaluate.options import ProbeOptions

if TYPE_CHECKING:
    from hilum.workflows.evaluate.probe import Against, ProbeResult

SUBJECT = Parameter(help="What to probe: a run folder, a weights file, random, or imagenet.")


def probe(
    subject: Annotated[str, SUBJECT],
    /,
    *,
    options: Annotated[ProbeOptions, FLAT],
    shared: Shared = UNSHARED,
) -> None:
    """Measure what frozen features know of the findings, by nearest neighbours and by a linear classifier.

    Research use only, not a medical device.

    Examples:
      hilum probe runs/moco --data stores/nih14
      hilum probe runs/moco --data stores/nih14 --against random
      hilum probe random --backbone resnet18 --data stores/nih14 --fraction 0.1
    """
    from hilum.workflows.evaluate.probe import probe as measure

    with listening() as listener:
        result = measure(subject, options, listener)
    answer(shared, result, _text(result))


def _text(result: "ProbeResult") -> str:
    """Return the AUROC of both probes by finding, and their means."""
    pairs = zip(result.knn.findings, result.linear.findings, strict=True)
    rows = [
        [knn.name, *(cell_text(one.measures["auroc"]) for one in (knn, linear))]
        for knn, linear in pairs
    ]
    means = [
        "mean",
        estimate_text(result.knn.auroc_macro),
        estimate_text(result.linear.auroc_macro),
    ]
    seen = f"features of {result.training_films:,} films"
    films = f"{result.linear.films:,} films of {result.linear.patients:,} patients of part {result.split}"
    table = aligned(["AUROC", "nearest neighbours", "linear"], [*rows, means])
    against = [] if result.against is None else ["", *_differences(result.subject, result.against)]
    return "\n".join(
        [f"{result.subject}: {seen}, measured on {films}", "", table, *against, RESEARCH_ONLY]
    )


def _differences(subject: str, against: "Against") -> list[str]:
    """Return the differences of the means, and whether they show anything."""
    lines = [f"{subject} minus {against.subject}, mean AUROC on the same films:"]
    for name, comparison in (("nearest neighbours", against.knn), ("linear", against.linear)):
        lines.append(f"  {name}: {difference_text(comparison.auroc_macro)}")
    return lines
