"""How the report says numbers: values with their intervals, differences with what they show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
    """A measure in words: the value, its interval, and the reason if one of them is missing."""

    value: str
    interval: str = ""
    reason: str = ""


def said(
    value: float | None, interval: Any, reason: str | None = None, signed: bool = False
) -> FormattedValue:
    """Return a measure in words.

    >>> said(0.8123, [0.79, 0.834])
    Said(value='0.812', interval='0.790 to 0.834', reason='')
    >>> said(None, None, "no positives in this split").value
    'not available'
    """
    if value is None:
        return FormattedValue(NOT_AVAILABLE, reason=reason or "")
    form = difference if signed else "{:.3f}".format
    ends = f"{form(interval[0])} to {form(interval[1])}" if interval else ""
    return FormattedValue(form(value), ends, "" if interval else reason or "")


def macro(result: Mapping[str, Any], prefix: str = "auroc_macro") -> FormattedValue:
    """Return a mean over findings in words, from an evaluation's JSON."""
    return said(result[prefix], result.get(f"{prefix}_interval"), result.get(f"{prefix}_reason"))


def difference(value: float) -> str:
    """Return a signed number with a true minus sign.

    >>> difference(0.0412), difference(-0.0412), difference(-0.0001)
    ('+0.041', '−0.041', '0.000')
    """
    text = f"{value:+.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text.replace("-", MINUS)


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun.

    >>> counted(1, "film"), counted(2000, "film")
    ('1 film', '2,000 films')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(names: list[str], none: str = "none") -> str:
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
