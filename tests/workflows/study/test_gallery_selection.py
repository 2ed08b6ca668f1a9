"""The gallery's films are those that its rule names, and no others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.workflows.study.gallery_selection import FINDINGS, OUTCOMES, Choice, choose_films


def choose(
    probabilities: list[list[float]], truth: list[list[float]], findings: list[str]
) -> list[Choice]:
    values, labels = np.array(probabilities), np.array(truth)
    return choose_films(values, labels, ~np.isnan(labels), [0.5] * len(findings), findings)


def test_the_most_and_least_probable_of_each_outcome_are_shown() -> None:
    probabilities = [[0.6], [0.9], [0.7], [0.8], [0.4], [0.2], [0.3], [0.1]]
    truth = [[1], [1], [0], [0], [1], [1], [0], [0]]
    assert choose(probabilities, truth, ["Edema"]) == [
        Choice(1, 0, "true positive"), Choice(3, 0, "false positive"),
        Choice(5, 0, "false negative"), Choice(7, 0, "true negative"),
    ]  # fmt: skip


def test_findings_with_most_positives_come_first_and_no_finding_never() -> None:
    truth = np.zeros((12, 6))
    for place, positives in enumerate([9, 2, 5, 0, 4, 3]):
        truth[:positives, place] = 1
    names = ["No Finding", "Mass", "Edema", "Hernia", "Nodule", "Fracture"]
    chosen = choose(np.full((12, 6), 0.7).tolist(), truth.tolist(), names)
    assert (
        list(dict.fromkeys(names[one.finding] for one in chosen))
        == ["Edema", "Nodule", "Fracture"][:FINDINGS]
    )


def test_an_outcome_that_no_film_has_is_left_out() -> None:
    assert [one.outcome for one in choose([[0.9], [0.1]], [[1], [0]], ["Mass"])] == [
        "true positive",
        "true negative",
    ]


def test_a_film_is_shown_once_and_the_next_takes_its_place() -> None:
    probabilities = [[0.9, 0.95], [0.6, 0.7], [0.1, 0.1]]
    truth = [[1, 1], [1, 1], [0, 0]]
    chosen = choose(probabilities, truth, ["Edema", "Mass"])
    assert [(one.film, one.finding, one.outcome) for one in chosen] == [
        (0, 0, "true positive"), (2, 0, "true negative"), (1, 1, "true positive"),
    ]  # fmt: skip


def test_unknown_labels_and_findings_without_threshold_are_not_shown() -> None:
    assert choose([[0.9]], [[np.nan]], ["Mass"]) == []
    assert (
        choose_films(np.array([[0.9]]), np.ones((1, 1)), np.ones((1, 1), bool), [None], ["Mass"])
        == []
    )


def test_of_equals_the_first_is_shown() -> None:
    assert choose([[0.9]] * 3, [[1]] * 3, ["Mass"])[0].film == 0


@given(seed=st.integers(0, 10_000), threshold=st.sampled_from([0.3, 0.5]))
def test_every_choice_is_what_it_says_and_none_is_more_extreme(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    probabilities, truth = (
        rng.integers(0, 10, (30, 4)) / 10,
        rng.integers(0, 2, (30, 4)).astype(float),
    )
    chosen = choose_films(
        probabilities, truth, np.ones((30, 4), bool), [threshold] * 4, list("abcd")
    )
    assert len({one.film for one in chosen}) == len(chosen)
    for number, one in enumerate(chosen):
        called, present = probabilities[:, one.finding] >= threshold, truth[:, one.finding] == 1
        groups = dict(zip(OUTCOMES, (called & present, called & ~present, ~called & present, ~called & ~present),
                          strict=True))  # fmt: skip
        free = set(np.flatnonzero(groups[one.outcome]).tolist()) - {
            earlier.film for earlier in chosen[:number]
        }
        assert one.film in free
        values = [probabilities[film, one.finding] for film in free]
        assert probabilities[one.film, one.finding] == (
            max if one.outcome.endswith("positive") else min
        )(values)


@pytest.mark.parametrize("films", [0, 1])
def test_few_films_are_no_fault(films: int) -> None:
    empty = np.zeros((films, 2))
    assert (
        choose_films(empty, empty, np.ones((films, 2), bool), [0.5, 0.5], ["Mass", "Edema"]) == []
    )
