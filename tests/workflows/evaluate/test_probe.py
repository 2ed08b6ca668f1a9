"""Probing a subject, alone and against another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hilum.workflows.evaluate.options import ProbeOptions
from hilum.workflows.evaluate.probe import ProbeResult, probe


@pytest.fixture(scope="module")
def options(tiny_store: Path) -> ProbeOptions:
    return ProbeOptions(
        data=(tiny_store,), split="test", resamples=50, min_positives=1, device="cpu"
    )


@pytest.fixture(scope="module")
def against_random(classifier: Path, options: ProbeOptions) -> ProbeResult:
    return probe(str(classifier), replace(options, against="random"))


def test_the_difference_is_that_of_both_probed_alone(
    classifier: Path, options: ProbeOptions, against_random: ProbeResult
) -> None:
    mine = probe(str(classifier), options)
    other = probe("random", replace(options, backbone="test_resnet"))
    found = against_random.against
    assert found is not None
    assert mine.against is None
    for name in ("knn", "linear"):
        values = [getattr(result, name).auroc_macro.value for result in (mine, other)]
        difference = getattr(found, name).auroc_macro
        assert difference.value == pytest.approx(values[0] - values[1])
        assert difference.interval.low <= difference.value <= difference.interval.high
        assert getattr(against_random, name).auroc_macro == getattr(mine, name).auroc_macro


def test_a_subject_against_itself_differs_by_nothing(
    classifier: Path, options: ProbeOptions
) -> None:
    found = probe(str(classifier), replace(options, against=str(classifier))).against
    assert found is not None
    assert found.linear.auroc_macro.value == 0.0
    assert tuple(found.knn.auroc_macro.interval) == (0.0, 0.0)


def test_the_difference_is_in_the_json(against_random: ProbeResult) -> None:
    found = against_random.to_json()["against"]
    assert found["subject"] == "random"
    assert found["linear_auroc_macro"] == against_random.against.linear.auroc_macro.value
    assert len(found["knn_auroc_macro_interval"]) == 2
