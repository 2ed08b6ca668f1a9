"""From stored samples to grey, as PS3.3 C.7.6.3 and C.11 state it, in plain NumPy.

All of it is a function of the sample alone, so it is computed once for each of the at most 65,536
words that a decoder can return, and a film is one look-up of its pixels in that table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.arrays import BoolArray, DoubleArray

Words = NDArray[np.int64]
"""Stored words, or the values that they stand for, int64."""

LEAST_INSIDE = 0.05
"""A window is absurd if it leaves a smaller fraction of the film's pixels between black and white."""
LEAST_SPREAD = 0.1
"""A table, window or nominal range is absurd if the middle 98 % of the film span a smaller part of black to white."""
TAIL = 0.01
"""Fraction of pixels left out at each end where an absurd window is replaced."""


@dataclass(frozen=True)
class Stored:
    """How samples are stored."""

    bits: int
    """Bits Stored, from 1 to 16; those above in a word are not part of the sample."""
    signed: bool

    def values(self, words: Words) -> Words:
        """Return the values of words, int64: masked to Bits Stored, then in two's complement if signed."""
        values = np.asarray(words, np.int64) & (2**self.bits - 1)
        sign = values >> (self.bits - 1) if self.signed else 0
        return np.asarray(values - (sign << self.bits))

    @property
    def limits(self) -> tuple[int, int]:
        """The lowest and the highest value that can be stored."""
        if self.signed:
            return -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1
        return 0, 2**self.bits - 1


@dataclass(frozen=True)
class Padding:
    """Pixel Padding Value, and Range Limit if there is one: pixels outside of the picture."""

    value: int
    limit: int

    def of(self, words: Words, stored: Stored) -> BoolArray:
        """Return which words are padding.

        Both tags may be written signed or unsigned, and more bits than are stored may be used for a
        value that no sample can have: then it is compared with the whole word.
        """
        ends = [self._as_stored(end, stored) for end in (self.value, self.limit)]
        whole = np.isin(
            words,
            [
                end & 0xFFFF
                for end, known in zip((self.value, self.limit), ends, strict=True)
                if known is None
            ],
        )
        known = [end for end in ends if end is not None]
        if len(known) < 2:
            return whole
        values = stored.values(words)
        return whole | ((values >= min(known)) & (values <= max(known)))

    @staticmethod
    def _as_stored(value: int, stored: Stored) -> int | None:
        """Return a tag's value as a sample's, None where no sample can have it."""
        lowest, highest = stored.limits
        for other in (value, value - 2**16, value - 2**stored.bits):
            if lowest <= other <= highest:
                return other
        return None


@dataclass(frozen=True)
class Table:
    """A modality or VOI LUT."""

    first: int
    """The value that is mapped to the first entry."""
    entries: Words
    """[n], at least 0."""

    @property
    def full(self) -> int:
        """The end of its nominal range: 2 ** bits - 1 with the bits that its largest entry needs.

        Not those that its descriptor states: 12-bit entries that are called 16-bit are common.
        """
        return int(2 ** max(1, int(self.entries.max()).bit_length()) - 1)

    def apply(self, values: DoubleArray) -> DoubleArray:
        """Return the entries for values, rounded to whole numbers; the end entries beyond both ends."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[index.astype(np.int64)].astype(np.float64), np.float64)

    @property
    def rises(self) -> bool:
        """Whether its last entry is at least its first."""
        return bool(self.entries[-1] >= self.entries[0])


@dataclass(frozen=True)
class Window:
    """A window of the modality step's values (C.11.2.1.2); the width is above 0."""

    center: float
    width: float
    function: str = "LINEAR"
    """LINEAR, LINEAR_EXACT or SIGMOID."""

    def apply(self, values: DoubleArray) -> DoubleArray:
        """Return values from 0 to 1.

        LINEAR needs a width of at least 1; a narrower window, as films with small slopes have, is
        taken as LINEAR_EXACT.
        """
        if self.function == "SIGMOID":
            power = np.clip(-4 * (values - self.center) / self.width, -700, 700)
            return np.asarray(1 / (1 + np.exp(power)))
        if self.function == "LINEAR_EXACT" or self.width < 1:
            return np.clip((values - self.center) / self.width + 0.5, 0, 1)
        if self.width == 1:
            return (values > self.center - 0.5).astype(np.float64)
        return np.clip((values - (self.center - 0.5)) / (self.width - 1) + 0.5, 0, 1)


@dataclass(frozen=True)
class Transform:
    """All that a file says on the way from samples to grey."""

    stored: Stored
    inverted: bool
    """Whether the end of the transform is turned over: low values are white."""
    padding: Padding | None = None
    slope: float = 1.0
    """Rescale Slope, not 0."""
    intercept: float = 0.0
    modality_table: Table | None = None
    """Takes the place of slope and intercept."""
    voi: Table | Window | None = None

    def modality(self, values: Words) -> DoubleArray:
        """Return the modality step's output for stored values."""
        if self.modality_table is not None:
            return self.modality_table.apply(values.astype(np.float64))
        return np.asarray(values * self.slope + self.intercept, np.float64)

    @property
    def nominal(self) -> tuple[float, float]:
        """The lowest and the highest output that the modality step can have."""
        if self.modality_table is not None:
            return 0.0, float(self.modality_table.full)
        low, high = sorted(end * self.slope + self.intercept for end in self.stored.limits)
        return low, high

    @property
    def rises(self) -> bool:
        """Whether high stored values are white."""
        rises = self.modality_table.rises if self.modality_table is not None else self.slope > 0
        if isinstance(self.voi, Table):
            rises = rises == self.voi.rises
        return rises != self.inverted


@dataclass(frozen=True)
class GreyTable:
    """The grey of every word that a film has."""

    grey: NDArray[np.uint8]
    """[words]; 0 for padding, which is black whatever its value is, and for words that do not occur."""
    replaced: bool = False
    """Whether percentiles took the place of an absurd or missing window."""


def display_table(transform: Transform, counts: DoubleArray) -> GreyTable:
    """Return what a viewer shows.

    Where the file's own window or table is absurd (LEAST_INSIDE, LEAST_SPREAD), or it has none and
    the film fills too little of the nominal range, the film's percentiles TAIL and 1 - TAIL become
    black and white. The fractions count pixels without padding and without those of the lowest and
    the highest value, where collimation and direct exposure pile up.

    Args:
        transform: What the file says.
        counts: [words] how many pixels of the film have each word.

    Raises:
        ValueError: Every pixel is padding.
    """
    words, values = _present(transform, counts)
    outputs = transform.modality(values)
    voi = transform.voi
    if isinstance(voi, Window):
        shown = voi.apply(outputs)
    elif voi is not None:
        shown = voi.apply(outputs) / voi.full
    else:
        low, high = transform.nominal
        shown = (outputs - low) / (high - low)
    inner = np.where((values == values.min()) | (values == values.max()), 0.0, counts[words])
    replaced = False
    if inner.any():
        low, high = _percentiles(shown, inner)
        inside = inner[(shown > 0) & (shown < 1)].sum() / inner.sum()
        if high - low < LEAST_SPREAD or (isinstance(voi, Window) and inside < LEAST_INSIDE):
            low, high = _percentiles(outputs, inner)
            replaced = high > low
    if replaced:
        shown = np.clip((outputs - low) / (high - low), 0, 1)
        shown = 1 - shown if isinstance(voi, Table) and not voi.rises else shown
    return GreyTable(_grey(shown, transform.inverted, words, len(counts)), replaced)


def archive_table(transform: Transform, counts: DoubleArray) -> GreyTable:
    """Return stored values from the film's lowest to its highest, padding left out, the right way round.

    Raises:
        ValueError: Every pixel is padding.
    """
    words, values = _present(transform, counts)
    low, high = int(values.min()), int(values.max())
    shown = (values - low) / max(1, high - low)
    return GreyTable(_grey(shown, not transform.rises, words, len(counts)))


def _present(transform: Transform, counts: DoubleArray) -> tuple[Words, Words]:
    """Return the words that a film has and their values, padding left out."""
    words = np.flatnonzero(counts)
    if transform.padding is not None:
        words = words[~transform.padding.of(words, transform.stored)]
    if not len(words):
        raise ValueError("every pixel is padding")
    return words, transform.stored.values(words)


def _percentiles(values: DoubleArray, counts: DoubleArray) -> tuple[float, float]:
    order = np.argsort(values, kind="stable")
    upto = np.cumsum(counts[order])
    low, high = np.searchsorted(upto, upto[-1] * np.array([TAIL, 1 - TAIL]))
    return float(values[order[low]]), float(values[order[high]])


def _grey(shown: DoubleArray, inverted: bool, words: Words, count: int) -> NDArray[np.uint8]:
    grey = np.zeros(count, np.uint8)
    # Turned over at the end of the transform's range, never at the film's own maximum.
    grey[words] = np.floor((1 - shown if inverted else shown) * 255 + 0.5).astype(np.uint8)
    return grey
