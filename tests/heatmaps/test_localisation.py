"""Localisation scores against loops over pixels, at their edges, and their intervals over patients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.heatmaps.localisation import (
    Places,
    chosen_pixels,
    located,
    located_difference,
    overlaps,
    pointing_hits,
)


def naive_hit(heat: np.ndarray, mask: np.ndarray, tolerance: float) -> float:
    peak = max(max(row) for row in heat.tolist())
    if peak <= 0:
        return 0.0
    tops = [
        (y, x) for y in range(heat.shape[0]) for x in range(heat.shape[1]) if heat[y, x] == peak
    ]
    inside = [(y, x) for y in range(mask.shape[0]) for x in range(mask.shape[1]) if mask[y, x]]
    near = [top for top in tops if min(math.dist(top, place) for place in inside) <= tolerance]
    return len(near) / len(tops)


def naive_otsu(heat: np.ndarray) -> np.ndarray:
    """The cut of 256 levels whose two sides differ most, weighed by their sizes."""
    if heat.max() == heat.min():
        return np.zeros(heat.shape, bool)
    levels = np.rint((heat - heat.min()) / (heat.max() - heat.min()) * 255)
    best, cut = -1.0, 0
    for level in range(255):
        below, above = levels[levels <= level], levels[levels > level]
        if len(below) and len(above):
            spread = len(below) * len(above) * (above.mean() - below.mean()) ** 2
            if spread > best * (1 + 1e-12):
                best, cut = spread, level
    return levels > cut


def drawn(seed: int, films: int = 6, side: int = 9) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    maps = (
        rng.integers(0, 4, (films, side, side)).astype(np.float32) / 3
    )  # few values, so that maxima tie
    masks = rng.random((films, side, side)) < 0.2
    masks[:, 0, 0] = True
    return maps, masks


@given(seed=st.integers(0, 10_000), tolerance=st.sampled_from([0.0, 1.0, 1.5, 3.0]))
def test_hits_are_those_of_a_loop_over_pixels(seed: int, tolerance: float) -> None:
    maps, masks = drawn(seed)
    maps[0] = 0.0
    expected = [naive_hit(heat, mask, tolerance) for heat, mask in zip(maps, masks, strict=True)]
    np.testing.assert_allclose(pointing_hits(maps, masks, tolerance), expected, atol=1e-12)


def test_a_single_maximum_hits_or_misses_and_tolerance_reaches_so_far() -> None:
    heat, mask = np.zeros((1, 20, 20)), np.zeros((1, 20, 20), bool)
    heat[0, 5, 5], mask[0, 5, 9] = 1.0, True
    assert pointing_hits(heat, mask).tolist() == [0.0]
    assert pointing_hits(heat, mask, 3.9).tolist() == [0.0]
    assert pointing_hits(heat, mask, 4.0).tolist() == [1.0]
    mask[0, 5, 5] = True
    assert pointing_hits(heat, mask).tolist() == [1.0]


def test_a_map_of_zeros_misses_even_a_mask_of_everything() -> None:
    empty, everything = np.zeros((2, 4, 4)), np.ones((2, 4, 4), bool)
    assert pointing_hits(empty, everything, tolerance=3).tolist() == [0.0, 0.0]
    assert overlaps(empty, everything).tolist() == [0.0, 0.0]


@given(seed=st.integers(0, 10_000))
def test_otsu_cuts_where_a_search_over_all_levels_does(seed: int) -> None:
    heat = np.random.default_rng(seed).gamma(0.7, size=(12, 12))
    np.testing.assert_array_equal(chosen_pixels(heat), naive_otsu(heat))


def test_overlap_is_intersection_over_union_of_the_hot_part() -> None:
    heat = np.zeros((1, 10, 10))
    heat[0, 2:6, 2:6] = 0.9
    heat[0, 3, 3] = 1.0
    mask = np.zeros((1, 10, 10), bool)
    mask[0, 4:8, 2:6] = True
    assert overlaps(heat, mask)[0] == pytest.approx(8 / 24)
    assert overlaps(heat, heat > 0)[0] == 1.0
    assert overlaps(heat * 1e-6, mask)[0] == pytest.approx(
        8 / 24
    )  # the scale of a map says nothing


@pytest.mark.parametrize("spoil", ["shape", "negative", "nan", "empty mask", "dtype"])
def test_what_cannot_be_scored_is_refused(spoil: str) -> None:
    maps, masks = drawn(0)
    if spoil == "shape":
        maps = maps[:, :-1]
    elif spoil == "negative":
        maps[0, 0, 0] = -1
    elif spoil == "nan":
        maps[0, 0, 0] = np.nan
    elif spoil == "empty mask":
        masks[2] = False
    else:
        masks = masks.astype(np.uint8)
    for score in (pointing_hits, overlaps):
        with pytest.raises(ValueError, match=r"maps|mask"):
            score(maps, masks)


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(ValueError, match="tolerance is -1"):
        pointing_hits(*drawn(0), tolerance=-1)


def test_no_maps_give_no_scores() -> None:
    maps, masks = np.zeros((0, 4, 4)), np.zeros((0, 4, 4), bool)
    assert pointing_hits(maps, masks, 1.0).shape == overlaps(maps, masks).shape == (0,)


def two_findings() -> Places:
    finding = ["Edema"] * 12 + ["Mass"] * 3
    patient = [f"p{place % 6}" for place in range(12)] + ["p0", "p0", "p9"]
    return Places.of(finding, patient, ["Mass", "Edema", "Hernia"])


def test_means_are_by_finding_and_then_over_those_with_enough_patients() -> None:
    places = two_findings()
    values = np.concatenate([np.linspace(0, 1, 12), [1.0, 1.0, 0.4]])
    weights = places.weightings(200, 0)
    found = located(values, places, weights, least_patients=2)
    assert found.findings["Edema"].value == pytest.approx(0.5)
    assert found.findings["Mass"].value == pytest.approx(0.8)
    assert found.overall.value == pytest.approx(0.65)
    assert found.scored == ("Mass", "Edema")
    assert found.findings["Hernia"].value is None
    assert found.findings["Hernia"].reason == "no film with its place known"
    fewer = located(values, places, weights, least_patients=3)
    assert (fewer.scored, fewer.overall.value) == (("Edema",), pytest.approx(0.5))
    none = located(values, places, weights, least_patients=9)
    assert none.overall.value is None
    assert "9 patients" in none.overall.reason


def test_resampled_means_are_those_of_a_loop_over_patients() -> None:
    places = two_findings()
    values = np.random.default_rng(1).random(15)
    weights = places.weightings(60, 3)
    samples = []
    for row in weights[1:]:
        means = []
        for finding in (0, 1):
            mine = [place for place in range(15) if places.finding[place] == finding]
            total = sum(int(row[places.patient[place]]) for place in mine)
            if total:
                means.append(
                    sum(row[places.patient[place]] * values[place] for place in mine) / total
                )
        samples.append(sum(means) / len(means))
    difference = located_difference(values - 0.5, places, weights, least_patients=2).overall
    reach = (difference.interval.high - difference.interval.low) / 2
    # Mass has 2 patients, so 1 degree of freedom: Student's factor is 12.706.
    assert reach == pytest.approx(12.706 * np.std(samples, ddof=1), rel=1e-3)


def test_one_patient_gives_a_value_and_no_interval() -> None:
    places = Places.of(["Mass", "Mass"], ["p1", "p1"], ["Mass"])
    found = located(np.array([1.0, 0.0]), places, places.weightings(20, 0), least_patients=1)
    assert found.findings["Mass"].value == 0.5
    assert found.findings["Mass"].interval is None
    assert "one patient only" in found.overall.reason


def test_pairing_narrows_a_difference() -> None:
    rng = np.random.default_rng(0)
    patients = [f"p{place // 2}" for place in range(80)]
    places = Places.of(["Mass"] * 80, patients, ["Mass"])
    hard, weights = rng.random(80), places.weightings(500, 0)
    mine, other = np.clip(hard + 0.05, 0, 1), hard
    paired = located_difference(mine - other, places, weights).overall
    alone = located(mine, places, weights).overall
    assert paired.interval.low > 0
    assert paired.interval.high - paired.interval.low < 0.3 * (
        alone.interval.high - alone.interval.low
    )


def test_places_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="'Edema' is not among"):
        Places.of(["Edema"], ["p1"], ["Mass"])
    with pytest.raises(ValueError, match="do not fit"):
        Places.of(["Mass"], ["p1", "p2"], ["Mass"])
    places = two_findings()
    with pytest.raises(ValueError, match="do not fit"):
        located(np.zeros(3), places, places.weightings(5, 0))
