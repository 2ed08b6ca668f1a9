"""Heatmap localisation scores: pointing game and overlap with a mask.

Only images with the finding and a known mask or box are scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.arrays import BoolArray, DoubleArray
from hilum.counts import counted
from hilum.metrics.estimates import difference, estimate, macro_samples
from hilum.metrics.intervals import bootstrap_counts
from hilum.metrics.results import Estimate

LEAST_PATIENTS = 5
"""Least patients of a finding in the overall mean."""
_LEVELS = 256  # of a map before it is cut in two


@dataclass(frozen=True)
class Places:
    """Which finding and whom each scored map belongs to.

    finding   [n] index of the finding among ``names``
    patient   [n] codes from 0 to P - 1 without gaps
    names     the findings
    """

    finding: NDArray[np.int64]
    patient: NDArray[np.int64]
    names: tuple[str, ...]

    @classmethod
    def of(cls, finding: Sequence[str], patient: Sequence[str], names: Sequence[str]) -> Places:
        """Return places from each map's finding and patient by name.

        Raises:
            ValueError: The lengths differ, or a finding is not among the names.
        """
        if len(finding) != len(patient):
            raise ValueError(f"{len(finding)} findings and {len(patient)} patients do not fit")
        order = {name: position for position, name in enumerate(names)}
        if missing := sorted(set(finding) - set(order)):
            raise ValueError(f"finding {missing[0]!r} is not among {list(names)}")
        codes = np.unique(np.asarray(patient, dtype=np.str_), return_inverse=True)[1]
        places = np.array([order[name] for name in finding], dtype=np.int64)
        return cls(places, codes.astype(np.int64), tuple(names))

    @property
    def patient_count(self) -> int:
        """P, the number of patients."""
        return int(self.patient.max()) + 1 if len(self.patient) else 0

    def weightings(self, resamples: int, seed: int) -> NDArray[np.uint16]:
        """Return patient weights [1 + resamples, P]: row 0 is all ones, then the resamples."""
        counts = bootstrap_counts(self.patient_count, resamples, seed)
        return np.concatenate([np.ones((1, self.patient_count), np.uint16), counts])


@dataclass(frozen=True)
class Located:
    """A score's mean by finding, and over the findings with enough patients."""

    overall: Estimate
    findings: dict[str, Estimate]
    scored: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        by_finding = {name: value.to_json() for name, value in self.findings.items()}
        return {
            "overall": self.overall.to_json(),
            "findings": by_finding,
            "findings_scored": list(self.scored),
        }


def pointing_hits(
    maps: NDArray[np.floating], masks: BoolArray, tolerance: float = 0.0
) -> DoubleArray:
    """Return for each map whether its highest place lies on the mask, float64 [N] from 0 to 1.

    Where several pixels share the maximum, the score is the fraction of them that hit: the
    expected score of choosing one at random. A map of zeros points nowhere and misses.

    Args:
        maps: [N, H, W], at least 0.
        masks: [N, H, W], each true somewhere.
        tolerance: Pixels of these maps by which the place may lie beside the mask. The first
            pointing game allowed 15 on photographs of about 500 pixels; its form for radiographs
            allows none.

    Raises:
        ValueError: The shapes differ, a map is negative or not finite, a mask is empty, or the
            tolerance is negative.

    Source: Zhang 2018 (arXiv 1608.00507), section 4.2; without tolerance Saporta 2022 (doi
        10.1038/s42256-022-00536-x).
    """
    _check(maps, masks)
    if tolerance < 0:
        raise ValueError(f"tolerance is {tolerance}: allowed is 0 or more")
    peak = maps.max(axis=(1, 2), keepdims=True)
    top = (maps == peak) & (peak > 0)
    near = (
        np.stack([_dilated(mask, tolerance) for mask in masks])
        if tolerance and len(masks)
        else masks
    )
    hits, ties = (top & near).sum(axis=(1, 2)), top.sum(axis=(1, 2))
    return np.asarray(hits / np.maximum(ties, 1), np.float64)


def overlaps(maps: NDArray[np.floating], masks: BoolArray) -> DoubleArray:
    """Return each map's IoU with its mask, float64 [N], after Otsu's threshold.

    A map of zeros, and any map of one value, chooses nothing and scores 0.

    Args:
        maps: [N, H, W], at least 0.
        masks: [N, H, W], each true somewhere.

    Raises:
        ValueError: As ``pointing_hits``.

    Source: Saporta 2022 (doi 10.1038/s42256-022-00536-x): maps scaled to 0 to 1, then Otsu 1979.
    """
    _check(maps, masks)
    chosen = (
        np.stack([chosen_pixels(heat) for heat in maps])
        if len(maps)
        else np.zeros(maps.shape, np.bool_)
    )
    both, either = (chosen & masks).sum(axis=(1, 2)), (chosen | masks).sum(axis=(1, 2))
    return np.asarray(both / either, np.float64)


def chosen_pixels(heat: NDArray[np.floating]) -> BoolArray:
    """Return the pixels above Otsu's threshold, bool [H, W]; none in a constant map."""
    low, high = float(heat.min()), float(heat.max())
    if high <= low:
        return np.zeros(heat.shape, np.bool_)
    levels = np.rint((heat - low) / (high - low) * (_LEVELS - 1)).astype(np.uint8)
    threshold, _ = cv2.threshold(levels, 0, _LEVELS - 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return np.asarray(levels > threshold, np.bool_)


def located(
    values: DoubleArray,
    places: Places,
    weights: NDArray[np.uint16],
    least_patients: int = LEAST_PATIENTS,
    level: float = 0.95,
) -> Located:
    """Return a score's mean by finding and over findings, with intervals over patients.

    Args:
        values: [n], one score a map.
        places: What each map belongs to.
        weights: [1 + R, P] from ``Places.weightings``.
        least_patients: Patients that a finding needs to enter the overall mean, in which findings
            weigh alike.
        level: Of the intervals.

    Raises:
        ValueError: The shapes do not fit.
    """
    return _located(values, places, weights, least_patients, level, estimate)


def located_difference(
    values: DoubleArray,
    places: Places,
    weights: NDArray[np.uint16],
    least_patients: int = LEAST_PATIENTS,
    level: float = 0.95,
) -> Located:
    """Return the paired mean difference of two models' scores; arguments as ``located``."""
    return _located(values, places, weights, least_patients, level, difference)


def _located(
    values: DoubleArray,
    places: Places,
    weights: NDArray[np.uint16],
    least_patients: int,
    level: float,
    to_estimate: Callable[[DoubleArray, float, str | None, str | None, int | None], Estimate],
) -> Located:
    if values.shape != places.finding.shape or weights.shape[1:] != (places.patient_count,):
        raise ValueError(
            f"values {values.shape}, maps {places.finding.shape}, weights {weights.shape} do not fit"
        )
    samples = np.stack(
        [_means(values, places, weights, f) for f in range(len(places.names))], axis=1
    )  # [1 + R, F]
    counts = [
        len(np.unique(places.patient[places.finding == position]))
        for position in range(len(places.names))
    ]
    scored = [position for position, count in enumerate(counts) if count >= least_patients]
    by_finding = {
        name: to_estimate(
            samples[:, position],
            level,
            "no film with its place known",
            _too_few(counts[position]),
            counts[position],
        )
        for position, name in enumerate(places.names)
    }
    none = f"no finding has {counted(least_patients, 'patient')} with its place known"
    fewest = min((counts[position] for position in scored), default=0)
    overall = to_estimate(macro_samples(samples, scored), level, none, _too_few(fewest), fewest)
    return Located(overall, by_finding, tuple(places.names[position] for position in scored))


def _means(
    values: DoubleArray, places: Places, weights: NDArray[np.uint16], finding: int
) -> DoubleArray:
    """Return one finding's mean in each resample, [1 + R]; nan where no patient has it."""
    mine = places.finding == finding
    patients, size = places.patient[mine], places.patient_count
    sums = np.bincount(patients, weights=values[mine], minlength=size)
    maps = np.bincount(patients, minlength=size).astype(np.float64)
    totals = weights @ np.stack([sums, maps], axis=1)
    means = np.full(len(weights), np.nan)
    np.divide(totals[:, 0], totals[:, 1], out=means, where=totals[:, 1] > 0)
    return means


def _too_few(patients: int) -> str | None:
    """Return the reason for no interval: resampling one patient has no variance."""
    return None if patients >= 2 else "one patient only"


def _dilated(mask: BoolArray, tolerance: float) -> BoolArray:
    """Return the pixels at most so far from the mask."""
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance <= tolerance + 1e-4, np.bool_)


def _check(maps: NDArray[np.floating], masks: BoolArray) -> None:
    if maps.ndim != 3 or maps.shape != masks.shape or masks.dtype != np.bool_:
        raise ValueError(
            f"maps {maps.shape} and masks {masks.dtype} {masks.shape} must be [N, H, W], masks bool"
        )
    if not (np.isfinite(maps).all() and (maps >= 0).all()):
        raise ValueError("maps must be finite and at least 0")
    if not masks.any(axis=(1, 2)).all():
        raise ValueError(
            "every mask must be true somewhere: leave out films that do not show the finding"
        )
