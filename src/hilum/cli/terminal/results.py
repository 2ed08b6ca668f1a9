"""An evaluation as text: a table of findings with their intervals, and what is not available with the reason."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from hilum.cli.terminal.tables import aligned, wrapped
from hilum.counts import counted

if TYPE_CHECKING:
    from hilum.metrics.summary import Estimate, Evaluation, FindingResult

MEASURES = {
    "auroc": "AUROC",
    "average_precision": "AP",
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
    "f1": "F1",
    "accuracy": "accuracy",
}
"""Measure -> its column's title (AP: average precision); accuracy last, as it flatters on rare
findings."""
MISSING, NEVER = "-", "never"


def evaluation_text(evaluation: "Evaluation", not_called: Collection[str] = ()) -> str:
    """Return the table of an evaluation, the means below it, and why something is missing.

    Findings that the model never calls have "never" as their threshold.
    """
    header = ["finding", "positive", "threshold", *MEASURES.values()]
    rows = [_row(finding, finding.name in not_called) for finding in evaluation.findings]
    drawn = any(
        one.interval for finding in evaluation.findings for one in finding.measures.values()
    )
    brackets = f"; in brackets {evaluation.level:.0%} intervals over patients" if drawn else ""
    lines = [
        f"{counted(evaluation.films, 'film')} of {counted(evaluation.patients, 'patient')}{brackets}",
        "",
        aligned(header, rows),
        "",
        *_means(evaluation),
        *_reasons(evaluation),
    ]
    return "\n".join(lines)


def estimate_text(estimate: "Estimate") -> str:
    """Return a value with its interval, such as ``0.812 [0.790, 0.833]``."""
    if estimate.value is None:
        return f"not available ({estimate.reason})"
    if estimate.interval is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.interval.low:.3f}, {estimate.interval.high:.3f}]"


def difference_text(estimate: "Estimate") -> str:
    """Return a difference with its sign and interval, such as ``+0.052 [+0.031, +0.073]``, and whether it shows any."""
    if estimate.value is None:
        return f"not available ({estimate.reason})"
    if estimate.interval is None:
        return f"{estimate.value:+.3f} (no interval)"
    low, high = estimate.interval
    verdict = "" if low > 0 or high < 0 else ": no difference shown"
    return f"{estimate.value:+.3f} [{low:+.3f}, {high:+.3f}]{verdict}"


def cell_text(estimate: "Estimate") -> str:
    """Return a value with its interval as a table has room for, a dash where there is none."""
    return MISSING if estimate.value is None else estimate_text(estimate)


def _row(finding: "FindingResult", never_called: bool) -> Sequence[str]:
    threshold = NEVER if never_called else MISSING
    if finding.threshold is not None:
        threshold = f"{finding.threshold:.3f}"
    plain = [_number(finding.measures[name]) for name in list(MEASURES)[1:]]
    return [
        finding.name,
        f"{finding.positives:,}",
        threshold,
        cell_text(finding.measures["auroc"]),
        *plain,
    ]


def _number(estimate: "Estimate") -> str:
    return MISSING if estimate.value is None else f"{estimate.value:.3f}"


def _means(evaluation: "Evaluation") -> Sequence[str]:
    if not evaluation.findings_scored:
        return [f"means {estimate_text(evaluation.auroc_macro)}"]
    return [
        f"mean AUROC {estimate_text(evaluation.auroc_macro)} over {_scored(evaluation)}",
        f"mean average precision {estimate_text(evaluation.average_precision_macro)} over the same",
    ]


def _scored(evaluation: "Evaluation") -> str:
    count, total = len(evaluation.findings_scored), len(evaluation.findings)
    return (
        f"{count} of {counted(total, 'finding')} (those with at least "
        f"{counted(evaluation.min_positives, 'positive patient')})"
    )


def _reasons(evaluation: "Evaluation") -> Sequence[str]:
    """Return a line for each finding whose AUROC is missing."""
    missing = [
        finding for finding in evaluation.findings if finding.measures["auroc"].value is None
    ]
    return [
        wrapped(f"{finding.name}: not available, {finding.measures['auroc'].reason}")
        for finding in missing
    ]
