"""Thresholds for a wanted precision: their bound, what it does with patients, and how often the promise fails."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from hilum.arrays import BoolArray, DoubleArray
from hilum.metrics.precision_thresholds import (
    NO_FILMS,
    Cut,
    choose_cut,
    effective_number,
    even_cut,
    lower_bound,
)
from hilum.workflows.train.labelling_options import PseudoOptions

DEFAULT = PseudoOptions()
WANTED = (DEFAULT.precision, DEFAULT.absent_precision, DEFAULT.level)
SPREAD = 1.3
"""How much more the scores of films with the finding vary than those of films without."""


def binomial_tail(found: int, films: int, share: float) -> float:
    """The chance of at least ``found`` of ``films``, by adding up."""
    return sum(
        math.comb(films, k) * share**k * (1 - share) ** (films - k) for k in range(found, films + 1)
    )


@pytest.mark.parametrize(
    ("found", "films", "level"), [(22, 22, 0.9), (95, 100, 0.9), (3, 30, 0.95)]
)
def test_at_the_bound_what_was_seen_is_just_as_unlikely_as_the_level_allows(
    found: int, films: int, level: float
) -> None:
    bound = lower_bound(found / films, films, level)
    assert binomial_tail(found, films, bound) == pytest.approx(1 - level, abs=1e-12)


@pytest.mark.parametrize("films", [1, 22, 700, 1234.5])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.999])
def test_where_no_call_is_wrong_the_bound_has_a_closed_form(films: float, level: float) -> None:
    assert lower_bound(1.0, films, level) == pytest.approx((1 - level) ** (1 / films), abs=1e-12)
    assert lower_bound(0.0, films, level) == 0.0


def test_the_bound_never_exceeds_what_was_seen() -> None:
    assert lower_bound(0.5, 10, 0.3) <= 0.5


def test_films_of_a_patient_count_less_the_more_they_resemble_each_other() -> None:
    rng = np.random.default_rng(0)
    films = np.full(400, 3.0)
    alike = 3.0 * (rng.random(400) < 0.8)
    unlike = rng.binomial(3, 0.8, 400).astype(np.float64)
    assert effective_number(alike, films) == pytest.approx(400, rel=0.01)
    assert effective_number(unlike, films) > 1000
    assert (
        effective_number(films, films) == 400
    )  # nothing is wrong, so nothing shows how alike they are
    assert effective_number(np.ones(50), np.ones(50)) == 50


def sample(
    rng: np.random.Generator, patients: int, share: float, area: float
) -> tuple[BoolArray, ...]:
    """Truth, scores and patients of films in clusters; those with the finding vary more, as in what networks say."""
    people = np.repeat(np.arange(patients), rng.geometric(0.4, patients))

    def within(part: float) -> DoubleArray:
        own, common = rng.standard_normal(len(people)), rng.standard_normal(patients)[people]
        return np.sqrt(part) * common + np.sqrt(1 - part) * own

    truth = within(0.6) < NormalDist().inv_cdf(share)
    noise, apart = within(0.4), math.hypot(1, SPREAD) * NormalDist().inv_cdf(area)
    return truth, np.where(truth, apart + SPREAD * noise, noise), people


def test_no_threshold_without_enough_films_says_why() -> None:
    truth = np.arange(200) < 9
    cut = choose_cut(truth, truth.astype(float), np.arange(200), *WANTED)
    assert (cut.present, cut.absent) == (None, None)
    assert cut.reason == f"present: {NO_FILMS}; absent: {NO_FILMS}"
    assert choose_cut([], [], np.array([], np.int64), *WANTED).present is None


def test_a_finding_that_cannot_reach_the_precision_calls_no_film_present() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(3000) < 0.1
    cut = choose_cut(truth, rng.random(3000), np.arange(3000), *WANTED)
    assert cut.present is None
    assert "at no threshold is the bound of precision 0.9 (at most 0." in str(cut.reason)
    assert cut.to_json()["present"]["threshold"] is None


def test_copies_of_the_same_films_make_nobody_surer() -> None:
    truth, scores = (
        np.arange(60) < 28,
        np.linspace(1, 0, 60),
    )  # 29 films without a fault are the fewest for 0.9
    once = choose_cut(truth, scores, np.arange(60), *WANTED)
    thrice = choose_cut(
        *(np.repeat(values, 3) for values in (truth, scores, np.arange(60))), *WANTED
    )
    apart = choose_cut(np.repeat(truth, 3), np.repeat(scores, 3), np.arange(180), *WANTED)
    assert (once.present, thrice.present) == (None, None)
    assert apart.present is not None


def test_both_ways_are_mirror_images_with_a_band_between() -> None:
    truth, scores, people = sample(np.random.default_rng(2), 1500, 0.4, 0.9)
    cut = choose_cut(truth, scores, people, 0.9, 0.9, 0.9)
    turned = choose_cut(~truth, -scores, people, 0.9, 0.9, 0.9)
    assert cut.present is not None
    assert cut.absent is not None
    assert cut.absent < cut.present
    assert (turned.present, turned.absent) == (-cut.absent, -cut.present)
    called = scores >= cut.present
    assert cut.present_side.precision.value == pytest.approx(truth[called].mean())
    assert cut.present_side.films == called.sum()
    assert cut.present_side.precision.interval[0] >= 0.9  # type: ignore[index]
    assert cut.reason is None


def test_where_both_ways_would_meet_the_numbers_are_of_the_films_that_are_called_absent() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(300) < 0.4
    scores = 0.5 + 0.25 * np.where(truth, 1, -1) + rng.normal(0, 0.15, 300)
    cut = choose_cut(truth, scores, np.arange(300), 0.8, 0.8, 0.9)
    assert cut.present is not None
    assert cut.absent == cut.present
    absent = scores < cut.present
    assert cut.absent_side.films == cut.absent_side.patients == absent.sum()
    assert cut.absent_side.precision.value == pytest.approx((~truth[absent]).mean())


def test_of_a_rare_finding_absent_must_tell_more_than_that_it_is_rare() -> None:
    truth, scores, people = sample(np.random.default_rng(3), 6000, 0.03, 0.9)
    cut = choose_cut(truth, scores, people, *WANTED)
    assert cut.absent_side.wanted == pytest.approx(1 - truth.mean() / 2)
    called = scores <= cut.absent
    assert truth[called].mean() <= truth.mean() / 2
    assert 0.1 < called.mean() < 0.99


def test_an_even_cut_calls_every_film_and_tells_how_right_that_is() -> None:
    truth, scores = np.array([1, 1, 0, 0, 0]), np.array([0.5, 0.4, 0.6, 0.1, 0.2])
    cut = even_cut(truth, scores, np.arange(5), 0.9)
    assert (cut.present, cut.absent, cut.reason) == (0.5, 0.5, None)
    assert (cut.present_side.films, cut.absent_side.films) == (2, 3)
    assert cut.present_side.precision.value == pytest.approx(1 / 2)
    assert cut.absent_side.precision.value == pytest.approx(2 / 3)
    assert cut.present_side.wanted is cut.absent_side.wanted is None
    nobody = even_cut(truth, scores / 2, np.arange(5), 0.9)
    assert nobody.present_side.precision.value is None
    assert nobody.present_side.precision.reason == "no validation film is called so"


@pytest.mark.parametrize("shares", [(1.0, 0.9, 0.9), (0.9, 0.0, 0.9), (0.9, 0.9, 1.0)])
def test_shares_that_cannot_be_are_refused(shares: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="allowed is between 0 and 1"):
        choose_cut([0, 1], [0.1, 0.9], np.arange(2), *shares)


def judged(right: BoolArray, people: NDArray[np.int64]) -> tuple[float, float, float]:
    """The share right, and the ends of its 95 % interval: Wilson's for the effective number of films."""
    codes = np.unique(people, return_inverse=True)[1]
    films, correct = np.bincount(codes).astype(float), np.bincount(codes, weights=right)
    share, number = right.mean(), effective_number(correct, films)
    half = 1.96 * math.sqrt(share * (1 - share) / number + 1.96**2 / 4 / number**2)
    middle, scale = share + 1.96**2 / 2 / number, 1 + 1.96**2 / number
    return float(share), (middle - half) / scale, (middle + half) / scale


def simulated(seed: int, findings: int) -> tuple[list[tuple[float, float, float, float]], ...]:
    """Wanted and real share, with its interval, of present and absent calls on fresh films of the same making."""
    rng = np.random.default_rng(seed)
    present, absent = [], []
    for _ in range(findings):
        positives = math.exp(rng.uniform(math.log(50), math.log(300)))
        share, area = math.exp(rng.uniform(math.log(0.03), math.log(0.4))), rng.uniform(0.75, 0.95)
        patients = int(positives / share / 2.5)
        cut: Cut = choose_cut(*sample(rng, patients, share, area), *WANTED)
        truth, scores, people = sample(rng, 6 * patients, share, area)
        for side, right, called, kept in (
            (
                cut.present_side,
                truth,
                scores >= (math.inf if cut.present is None else cut.present),
                present,
            ),
            (
                cut.absent_side,
                ~truth,
                scores <= (-math.inf if cut.absent is None else cut.absent),
                absent,
            ),
        ):
            if called.any():
                kept.append((side.wanted, *judged(right[called], people[called])))
    return present, absent


def test_the_promise_is_kept_by_the_default_level() -> None:
    """250 findings of 50 to 300 positives and AUROC 0.75 to 0.95, labelled six times as many films as validated on."""
    present, absent = simulated(seed=11, findings=250)
    for calls, least in ((present, 30), (absent, 140)):
        wanted, real, _, high = np.array(calls).T
        assert len(calls) >= least  # not kept by labelling nothing
        assert abs((real - wanted).mean()) < 0.05
        assert (high < wanted).mean() <= 0.05  # findings that miss it beyond their interval
        assert (real < wanted).mean() <= 0.16
