"""Two runs compared, as text: the means, then each finding with its interval, however few patients have it."""

from typing import TYPE_CHECKING

from hilum.cli.terminal.results import MISSING, difference_text
from hilum.cli.terminal.tables import aligned
from hilum.counts import counted

if TYPE_CHECKING:
    from hilum.metrics.results import Difference
    from hilum.workflows.evaluate.compare import CompareResult

HEADER = ("finding", "positive patients", "AUROC", "of the other", "difference", "p (Holm)")


def comparison_text(first: str, second: str, compared: "CompareResult") -> str:
    """Return the differences of the means and a table of the findings, with what the intervals show."""
    difference = compared.difference
    if compared.same:
        return f"{first} and {second} are the same model: there is no difference"
    rows = [
        [
            name,
            f"{finding.positive_patients:,}",
            _area(finding.first),
            _area(finding.second),
            *_difference_cells(finding.difference),
        ]
        for name, finding in compared.findings.items()
    ]
    tested = [one for one in difference.auroc.values() if one.p is not None]
    lines = []
    if tested and not any(one.shown for one in tested):
        lines.append(
            f"no difference shown of a single finding, {len(tested)} tested together (Holm)"
        )
    untested = {
        name: one
        for name, one in difference.auroc.items()
        if one.p is None and one.interval is not None
    }
    if untested:
        least = compared.first.evaluation.min_positives
        beyond = [name for name, one in untested.items() if not _holds_0(one)]
        what = f"excludes 0 for {', '.join(beyond)}" if beyond else "holds 0 for each of them"
        lines.append(
            f"{counted(len(untested), 'finding')} with fewer than "
            f"{counted(least, 'positive patient')} {'is' if len(untested) == 1 else 'are'} not tested; "
            f"the interval of the difference {what}"
        )
    lines += [
        f"{name}: {one.reason}" for name, one in difference.auroc.items() if one.reason is not None
    ]
    return "\n".join(
        [
            f"{first} minus {second} on the same {counted(compared.films, 'film')} of "
            f"{counted(compared.patients, 'patient')}",
            f"  mean AUROC {difference_text(difference.auroc_macro)}",
            f"  mean average precision {difference_text(difference.average_precision_macro)}",
            "",
            aligned(HEADER, rows),
            "",
            *lines,
        ]
    )


def _area(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"


def _difference_cells(difference: "Difference") -> list[str]:
    """Return the cells of a difference with its interval, and of the adjusted p value."""
    if difference.value is None:
        return [MISSING, MISSING]
    if difference.interval is None:
        return [f"{difference.value:+.3f}", MISSING]
    low, high = difference.interval
    text = f"{difference.value:+.3f} [{low:+.3f}, {high:+.3f}]"
    return [text, "not tested" if difference.p_holm is None else f"{difference.p_holm:.3f}"]


def _holds_0(difference: "Difference") -> bool:
    return difference.interval is not None and (
        difference.interval.low <= 0 <= difference.interval.high
    )
