"""PS3.3 C.7.6.3 and C.11 stated pixel by pixel in plain Python, apart from Hilum, with its documented rules.

Slow on purpose: no table, no array, no NumPy. What a file says comes from the `Variant` that it was
written from, not from the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from dicom_files import Lut, Variant

Grid = list[list[float]]


def statement(variant: Variant, samples: list[list[int]], rendering: str, polarity: str) -> Grid:
    """Return what a film shall look like, from 0 (black) to 1 (white).

    Args:
        variant: What its file says.
        samples: Its stored values, as decoded.
        rendering: display or archive.
        polarity: photometric or shape.
    """
    low_white = variant.photometric == "MONOCHROME1"
    if polarity == "shape" and variant.shape is not None:
        low_white = variant.shape == "INVERSE"
    inside = [value for row in samples for value in row if not _is_padding(variant, value)]
    if rendering == "archive":
        low, high = min(inside), max(inside)
        turned = low_white != _falls(variant)
        shown = lambda value: (value - low) / (high - low)  # noqa: E731
    else:
        shown, turned = _display(variant, inside), low_white
    return [
        [
            0.0 if _is_padding(variant, value) else 1 - shown(value) if turned else shown(value)
            for value in row
        ]
        for row in samples
    ]


def _is_padding(variant: Variant, value: int) -> bool:
    if variant.padding is None:
        return False
    limit = variant.padding if variant.padding_limit is None else variant.padding_limit
    return min(variant.padding, limit) <= value <= max(variant.padding, limit)


def _falls(variant: Variant) -> bool:
    """Return whether large stored values become small ones before polarity."""
    if variant.modality_lut is not None:
        falls = variant.modality_lut.entries[-1] < variant.modality_lut.entries[0]
    else:
        falls = (variant.slope or 1) < 0
    if variant.voi_lut is not None:
        falls = falls != (variant.voi_lut.entries[-1] < variant.voi_lut.entries[0])
    return falls


def _display(variant: Variant, inside: list[int]) -> Callable[[int], float]:
    def modality(value: int) -> float:
        if variant.modality_lut is not None:
            return float(_entry(variant.modality_lut, value))
        return value * (variant.slope or 1) + (variant.intercept or 0)

    window = _first_window(variant)
    full = _full(variant.voi_lut) if variant.voi_lut is not None else 0
    ends = sorted(modality(end) for end in _ends(variant))
    if variant.modality_lut is not None:
        ends = [0, _full(variant.modality_lut)]

    def shown(value: int) -> float:
        output = modality(value)
        if variant.voi_lut is not None:
            return _entry(variant.voi_lut, round(output)) / full
        if window is not None:
            return _windowed(output, *window, (variant.function or "").strip().upper())
        return (output - ends[0]) / (ends[1] - ends[0])

    # Where a window shows next to nothing of the film, its percentiles 1 and 99 take its place.
    lowest, highest = min(inside), max(inside)
    middle = sorted(value for value in inside if lowest < value < highest)
    if middle:
        grey = sorted(shown(value) for value in middle)
        spread = _percentile(grey, 0.99) - _percentile(grey, 0.01)
        between = sum(0 < value < 1 for value in grey) / len(grey)
        if spread < 0.1 or (variant.voi_lut is None and window is not None and between < 0.05):
            outputs = sorted(modality(value) for value in middle)
            low, high = _percentile(outputs, 0.01), _percentile(outputs, 0.99)
            if high > low:
                falling = (
                    variant.voi_lut is not None
                    and variant.voi_lut.entries[-1] < variant.voi_lut.entries[0]
                )
                tone = lambda value: min(1, max(0, (modality(value) - low) / (high - low)))  # noqa: E731
                return (lambda value: 1 - tone(value)) if falling else tone
    return shown


def _ends(variant: Variant) -> tuple[int, int]:
    if variant.signed:
        return -(2 ** (variant.bits - 1)), 2 ** (variant.bits - 1) - 1
    return 0, 2**variant.bits - 1


def _percentile(ordered: list[float], share: float) -> float:
    """Return the first value with at least that share of all at or below it."""
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def _entry(lut: Lut, value: int) -> int:
    return lut.entries[min(max(value - lut.first, 0), len(lut.entries) - 1)]


def _full(lut: Lut) -> int:
    """Return 2 ** n - 1 with the bits that the largest entry needs."""
    full = 1
    while full < max(lut.entries):
        full = 2 * full + 1
    return full


def _first_window(variant: Variant) -> tuple[float, float] | None:
    if variant.windows is None:
        return None
    centres, widths = variant.windows
    for centre, width in zip(centres, widths):  # noqa: B905 - of different lengths in some files
        if float(width) > 0:
            return float(centre), float(width)
    return None


def _windowed(x: float, c: float, w: float, function: str) -> float:
    if function == "SIGMOID":
        return 1 / (1 + math.exp(-4 * (x - c) / w))
    if function == "LINEAR_EXACT" or w < 1:
        if x <= c - w / 2:
            return 0.0
        return 1.0 if x > c + w / 2 else (x - c) / w + 0.5
    if x <= c - 0.5 - (w - 1) / 2:
        return 0.0
    if x > c - 0.5 + (w - 1) / 2:
        return 1.0
    return (x - (c - 0.5)) / (w - 1) + 0.5
