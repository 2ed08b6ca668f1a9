"""How the pages write numbers: values with their intervals, differences with their verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hilum.metrics.results import Estimate
from hilum.pages.charts.axes import MINUS, NOT_AVAILABLE

NO_DIFFERENCE = "no difference shown"
SPELLED = (
    "No",
    "One",
    "Two",
    "Three",
    "Four",
    "Five",
    "Six",
    "Seven",
    "Eight",
    "Nine",
    "Ten",
    "Eleven",
    "Twelve",
)


@dataclass(frozen=True)
class FormattedValue:
    """A measure as text: the value, its interval, and the reason if one of them is missing."""

    value: str
    interval: str = ""
    reason: str = ""


def formatted(measure: Estimate, signed: bool = False) -> FormattedValue:
    """Return a measure as text.

    >>> from hilum.metrics.intervals import Interval
    >>> formatted(Estimate(0.8123, Interval(0.79, 0.834)))
    FormattedValue(value='0.812', interval='0.790 to 0.834', reason='')
    >>> formatted(Estimate(None, reason="no positives in this split")).value
    'not available'
    """
    if measure.value is None:
        return FormattedValue(NOT_AVAILABLE, reason=measure.reason or "")
    form = difference if signed else "{:.3f}".format
    ends = " to ".join(map(form, measure.interval)) if measure.interval else ""
    return FormattedValue(
        form(measure.value), ends, "" if measure.interval else measure.reason or ""
    )


RULES = {
    "youden": "sensitivity + specificity at its highest",
    "sensitivity": "sensitivity of at least {}",
    "specificity": "specificity of at least {}",
}


def rule_in_words(rule: str) -> str:
    """Return how thresholds were chosen.

    >>> rule_in_words("sensitivity 0.9")
    'sensitivity of at least 0.9'
    """
    kind, _, value = rule.partition(" ")
    return RULES[kind].format(value) if kind in RULES else rule


def told_apart(value: float, threshold: float | None) -> tuple[str, str]:
    """Return a probability and its threshold with two decimals, or more where they would look alike.

    >>> told_apart(0.4961, 0.5012), told_apart(0.8, 0.5), told_apart(0.1, None)
    (('0.496', '0.501'), ('0.80', '0.50'), ('0.10', '-'))
    """
    if threshold is None:
        return f"{value:.2f}", "-"
    decimals = 2 if abs(value - threshold) >= 0.02 else 3
    while (
        value != threshold
        and decimals < 8
        and f"{value:.{decimals}f}" == f"{threshold:.{decimals}f}"
    ):
        decimals += 1
    return f"{value:.{decimals}f}", f"{threshold:.{decimals}f}"


def difference(value: float) -> str:
    """Return a signed number with a true minus sign.

    >>> difference(0.0412), difference(-0.0412), difference(-0.0001)
    ('+0.041', '−0.041', '0.000')
    """
    text = f"{value:+.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text.replace("-", MINUS)


def listed(names: Sequence[str], none: str = "none") -> str:
    """Return names as a sentence has them.

    >>> listed(["Edema", "Fracture", "Pneumonia"])
    'Edema, Fracture and Pneumonia'
    """
    if not names:
        return none
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def spelled(count: int) -> str:
    """Return a small number as the first word of a sentence.

    >>> spelled(7), spelled(13)
    ('Seven', '13')
    """
    return SPELLED[count] if count < len(SPELLED) else str(count)
