"""Words for numbers: missing values and signs."""

from __future__ import annotations

from hilum.metrics.intervals import Interval
from hilum.metrics.results import Estimate
from hilum.pages.wording import difference, formatted, listed, told_apart


def test_a_value_without_interval_gives_the_reason():
    alone = formatted(Estimate(0.7, reason="no interval: 1 patient"))
    assert alone.reason == "no interval: 1 patient"
    assert formatted(Estimate(0.7, Interval(0.6, 0.8))).interval == "0.600 to 0.800"


def test_signed_values_carry_their_sign_in_both_ends():
    words = formatted(Estimate(0.012, Interval(-0.01, 0.03)), signed=True)
    assert (words.value, words.interval) == ("+0.012", "−0.010 to +0.030")


def test_a_rounded_zero_has_no_sign():
    assert difference(-0.0004) == "0.000"


def test_lists_of_one_and_none():
    assert (listed(["Edema"]), listed([]), listed([], "nothing")) == ("Edema", "none", "nothing")


def test_a_probability_never_looks_like_the_threshold_that_it_misses():
    assert told_apart(0.4996, 0.5004) == ("0.4996", "0.5004")
    assert told_apart(0.49999, 0.5) == ("0.49999", "0.50000")
    assert told_apart(0.5, 0.5) == ("0.500", "0.500")
    assert told_apart(0.9, 0.5) == ("0.90", "0.50")
