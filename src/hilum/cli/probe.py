"""``hilum probe``: measure frozen features."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hilum.cli.shared import FLAT, RESEARCH_ONLY, UNSHARED, Shared, answer
from hilum.cli.terminal.console import listening
from hilum.cli.terminal.results import cell_text, difference_text, estimate_text
from hilum.cli.terminal.tables import aligned, wrapped
from hilum.counts import counted
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
    """Measure how well frozen features predict the findings, by nearest neighbours and by a linear classifier.

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
    probes = {"nearest neighbours": result.knn, "linear": result.linear}
    pairs = zip(result.knn.findings, result.linear.findings, strict=True)
    rows = [
        [knn.name, *(cell_text(row.measures["auroc"]) for row in (knn, linear))]
        for knn, linear in pairs
    ]
    rows.append(["mean", *(cell_text(probe.auroc_macro) for probe in probes.values())])
    films, patients = result.linear.films, result.linear.patients
    lines = [
        f"{result.subject}: features of {counted(result.training_films, 'film')}",
        f"measured on {counted(films, 'film')} of {counted(patients, 'patient')} of the split {result.split}",
        "",
        aligned(["AUROC", *probes], rows),
    ]
    for name, probe in probes.items():
        if probe.auroc_macro.value is None:
            lines.append(wrapped(f"mean, {name}: {estimate_text(probe.auroc_macro)}"))
    if result.against is not None:
        lines += ["", *_differences(result.subject, result.against)]
    return "\n".join([*lines, RESEARCH_ONLY])


def _differences(subject: str, against: "Against") -> list[str]:
    """Return the differences of the means, and whether they show anything."""
    lines = [f"{subject} minus {against.subject}, mean AUROC on the same films:"]
    for name, comparison in (("nearest neighbours", against.knn), ("linear", against.linear)):
        lines.append(wrapped(f"  {name}: {difference_text(comparison.auroc_macro)}", " " * 4))
    return lines
