"""Words for numbers: missing values and signs."""

from __future__ import annotations

from hilum.pages.wording import difference, listed, said


def test_a_value_without_interval_gives_the_reason():
    assert said(0.7, None, "no interval: 1 patient").reason == "no interval: 1 patient"
    assert said(0.7, [0.6, 0.8], None).interval == "0.600 to 0.800"


def test_signed_values_carry_their_sign_in_both_ends():
    words = said(0.012, [-0.01, 0.03], signed=True)
    assert (words.value, words.interval) == ("+0.012", "−0.010 to +0.030")


def test_a_rounded_zero_has_no_sign():
    assert difference(-0.0004) == "0.000"


def test_lists_of_one_and_none():
    assert (listed(["Edema"]), listed([]), listed([], "nothing")) == ("Edema", "none", "nothing")
