"""Details of an evaluation below its table: a few lines, and tables on request."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hilum.cli.terminal.results import MISSING, cell_text, estimate_text
from hilum.cli.terminal.tables import aligned
from hilum.counts import counted

if TYPE_CHECKING:
    from hilum.metrics.operating import OperatingPoint
    from hilum.metrics.reliability import Reliability
    from hilum.metrics.results import Estimate, Evaluation
    from hilum.metrics.set_scores import SetScores
    from hilum.metrics.subgroups import Subgroup
    from hilum.workflows.evaluate.details import CompetitionScores, Details, StudyScores


def details_text(
    details: "Details",
    evaluation: "Evaluation",
    subgroups: bool = False,
    operating_points: bool = False,
) -> str:
    """Return the lines below an evaluation's table, with the tables asked for."""
    lines = [
        *_studies(details.per_study, evaluation),
        *_competition(details.competition),
        *_set_scores(details.set_scores),
        *_calibration(details.calibration),
    ]
    if operating_points:
        lines += ["", *_points(details)]
    if subgroups:
        lines += ["", *_subgroups(details.subgroups)]
    return "\n".join(lines)


def _studies(studies: "StudyScores", evaluation: "Evaluation") -> Iterable[str]:
    if studies.auroc_macro.value is None:
        return
    if studies.studies == evaluation.films:
        yield "each study has one film: the numbers by study are the same"
    else:
        mean = estimate_text(studies.auroc_macro)
        yield f"mean AUROC {mean} over {counted(studies.studies, 'study', 'studies')}, each by the highest of its films"


def _competition(competition: "CompetitionScores | None") -> Iterable[str]:
    if competition is not None and competition.auroc_macro.value is not None:
        scored = len(competition.findings)
        yield f"mean AUROC {estimate_text(competition.auroc_macro)} over {scored} of CheXpert's 5 competition findings"


def _set_scores(scores: "SetScores | None") -> Iterable[str]:
    if scores is not None:
        yield (
            f"MedMNIST's accuracy {estimate_text(scores.accuracy)}, "
            f"AUC {estimate_text(scores.auc)} ({scores.task})"
        )


def _calibration(calibration: "Reliability") -> Iterable[str]:
    error, chance, raw = (calibration.mean(name) for name in ("ece", "ece_by_chance", "ece_raw"))
    brier = calibration.mean("brier")
    if error is None or chance is None or raw is None or brier is None:
        return
    fitted = any(finding.calibration for finding in calibration.findings.values())
    before = f"{raw:.3f} before calibration, " if fitted else "not calibrated, "
    yield (
        f"mean calibration error {error:.3f} ({before}{chance:.3f} by chance with perfect probabilities); "
        f"mean Brier score {brier:.3f}"
    )


def _points(details: "Details") -> Iterable[str]:
    """Yield two tables, since one with all columns is too wide: what is called, and the rates."""
    points = [
        (name, point) for name, points in details.operating_points.items() for point in points
    ]
    if not points:
        yield "no threshold was chosen on validation films: there is no operating point"
        return
    counts = ["true positives", "false negatives", "false positives"]
    yield aligned(
        ["finding", "rule", "threshold", *counts],
        [
            [
                name,
                point.rule,
                f"{point.threshold:.3f}",
                f"{point.true_positives:,}",
                f"{point.false_negatives:,}",
                f"{point.false_positives:,}",
            ]
            for name, point in points
        ],
    )
    yield ""
    prevalence = points[0][1].prevalence
    values = ["precision"]
    if prevalence is not None:
        values = [f"PPV at {prevalence:g}", f"NPV at {prevalence:g}"]
    yield aligned(
        ["finding", "rule", "sensitivity", "specificity", *values],
        [
            [name, point.rule.replace("itivity", ".").replace("ificity", "."), *_rates(point)]
            for name, point in points
        ],
    )


def _rates(point: "OperatingPoint") -> Sequence[str]:
    values: list[Estimate | None] = [point.precision]
    if point.prevalence is not None:
        values = [point.ppv_at_prevalence, point.npv_at_prevalence]
    rates = [point.sensitivity, point.specificity, *values]
    return [cell_text(rate) for rate in rates if rate is not None]


def _subgroups(subgroups: Sequence["Subgroup"]) -> Iterable[str]:
    if not subgroups:
        yield "the store has no sex, age or view position: there is no subgroup"
        return
    header = ["subgroup", "value", "films", "patients", "findings", "mean AUROC"]
    yield aligned(header, [_subgroup(subgroup) for subgroup in subgroups])
    scored = {subgroup.findings_scored for subgroup in subgroups if subgroup.findings_scored}
    if len(scored) > 1:
        yield "subgroups with too few patients of a finding leave it out, so their means are over different findings"


def _subgroup(subgroup: "Subgroup") -> Sequence[str]:
    scored = str(len(subgroup.findings_scored)) if subgroup.findings_scored else MISSING
    name = subgroup.group.replace("_", " ")
    return [
        name,
        subgroup.value,
        f"{subgroup.films:,}",
        f"{subgroup.patients:,}",
        scored,
        _mean(subgroup),
    ]


def _mean(subgroup: "Subgroup") -> str:
    return "too few" if subgroup.auroc_macro.value is None else estimate_text(subgroup.auroc_macro)
