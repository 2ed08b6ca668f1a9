from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hilum.stratify import by_patient, divide, folds, spread


def test_three_patients_of_a_rare_finding_are_not_all_neighbours() -> None:
    positives = np.zeros((300, 1), bool)
    positives[[7, 8, 9]] = True
    for seed in range(20):
        places = np.sort(
            spread(positives, np.ones(300, np.int64), np.random.default_rng(seed))[[7, 8, 9]]
        )
        assert np.diff([*places, places[0] + 1]).min() > 0.2


@pytest.mark.parametrize("rate", [0.02, 0.2])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_every_stretch_of_the_circle_has_a_finding_in_proportion(rate: float, share: float) -> None:
    rng = np.random.default_rng(4)
    positives = rng.random((1500, 3)) < rate
    places = spread(positives, rng.integers(1, 40, 1500), rng)
    for start in np.linspace(0, 1 - share, 7):
        chosen = (places >= start) & (places < start + share)
        expected = share * positives.sum(axis=0)
        assert (abs(positives[chosen].sum(axis=0) - expected) <= 3 + 0.05 * expected).all()


def test_patients_are_summed_up_sorted_whatever_the_order_of_films() -> None:
    films = pd.DataFrame({"patient": ["b", "a", "b", "c"], "Edema": [0.0, np.nan, 1.0, 1.0]})
    found = by_patient(films, ["Edema"], ["a", "b"])
    assert found.index.tolist() == ["a", "b"]
    assert found["Edema"].tolist() == [False, True]
    assert found["films"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("patients", "shares", "sizes"),
    [
        (10, (0.2, 0.1), (2, 1, 7)),
        (3, (0.2, 0.1), (1, 1, 1)),
        (2, (0.2, 0.1), (0, 0, 2)),
        (10, (0.0, 0.0), (0, 0, 10)),
        (10, (0.5, 0.5), (5, 5, 0)),
        (0, (0.2, 0.1), (0, 0, 0)),
    ],
)
def test_sizes(patients: int, shares: tuple[float, float], sizes: tuple[int, ...]) -> None:
    names = [f"p{number}" for number in range(patients)]
    parts = divide(
        pd.DataFrame({"Edema": False, "films": 1}, index=pd.Index(names, dtype=str)), shares, 0
    )
    assert tuple(map(len, parts)) == sizes
    assert sorted(name for part in parts for name in part) == sorted(names)


@pytest.mark.parametrize(("patients", "count"), [(40, 5), (37, 4), (3, 5), (1, 2)])
def test_folds_have_whole_patients_in_equal_numbers(patients: int, count: int) -> None:
    rng = np.random.default_rng(patients)
    codes = rng.permutation(np.repeat(np.arange(patients) * 7, 3))
    parts = folds(rng.random((len(codes), 2)) < 0.3, codes, count, seed=0)
    of_patient = {code: set(parts[codes == code].tolist()) for code in np.unique(codes)}
    assert all(len(own) == 1 for own in of_patient.values())
    sizes = np.bincount([own.pop() for own in of_patient.values()])
    assert len(sizes) == min(count, patients)
    assert sizes.max() - sizes.min() <= 1


def test_folds_have_a_rare_finding_in_proportion_and_depend_on_the_seed() -> None:
    codes = np.repeat(np.arange(200), 2)
    shows = np.zeros((400, 1), np.bool_)
    shows[:20] = True  # ten patients
    parts = folds(shows, codes, 5, seed=0)
    assert np.bincount(parts[shows[:, 0]], minlength=5).max() <= 6
    assert not np.array_equal(parts, folds(shows, codes, 5, seed=1))
    assert np.array_equal(parts, folds(shows, codes, 5, seed=0))
