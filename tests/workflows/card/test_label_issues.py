from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.images.films import Films
from hilum.workflows.card.label_issues import COLUMNS, expected_labels, label_issues


class Flipped:
    """A store's films with other labels."""

    def __init__(self, films: Films, labels: np.ndarray) -> None:
        self.catalog, self.findings, self.patient_codes = (
            films.catalog,
            films.findings,
            films.patient_codes,
        )
        self.labels, self.labelled_by_source = labels, np.ones(labels.shape, bool)


@pytest.fixture(scope="module")
def films(make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Films:
    return Films.open([make_store(tmp_path_factory.mktemp("hints") / "store", 400, 16)])


def look(films: Films, seed: int = 0) -> np.ndarray:
    """Features that say what a film truly shows, blurred."""
    rng = np.random.default_rng(seed)
    shown = np.concatenate([films.labels, 1 - films.labels], axis=1)
    return (shown + rng.normal(scale=0.1, size=shown.shape)).astype(np.float32)


def hints(films: object, features: np.ndarray, **asked: object) -> pd.DataFrame:
    return label_issues(films, np.arange(len(features)), features, **asked)  # type: ignore[arg-type]


def test_flipped_labels_come_first(films: Films) -> None:
    labels = films.labels.copy()
    wrong = [(7, 0), (120, 1), (301, 0), (399, 1)]
    for cell in wrong:
        labels[cell] = 1 - labels[cell]
    found = hints(Flipped(films, labels), look(films), neighbours=20)
    assert tuple(found.columns) == COLUMNS
    first = found.iloc[:4]
    assert {
        (row, films.findings.index(name))
        for row, name in zip(first["row"], first["finding"], strict=True)
    } == {*wrong}
    assert (first["expected"].between(0.5, 1) != (first["label"] == 1)).all()
    assert found["score"].is_monotonic_decreasing
    assert found["path"].tolist() == films.catalog["path"].iloc[found["row"]].tolist()
    assert found["score"].iloc[3] > 1 > found["score"].iloc[4]


def test_the_list_ends_where_asked_and_holds_nothing_that_is_as_usual(films: Films) -> None:
    features = look(films)
    assert len(hints(films, features, count=3)) == 3
    assert (hints(films, features, count=10_000)["score"] > 0).all()


def test_films_of_the_same_patient_do_not_speak() -> None:
    features = np.float32([[1, 0], [1, 0.01], [1, 0.5], [0, 1]])
    truth = np.float32([[1], [1], [0], [0]])
    alone = expected_labels(features, truth, np.ones((4, 1), bool), np.array([0, 0, 1, 2]), 1)
    assert alone[0, 0] == pytest.approx((0 + 2 * 0.5) / 3)  # the twin would have said 1
    others = expected_labels(features, truth, np.ones((4, 1), bool), np.array([0, 3, 1, 2]), 1)
    assert others[0, 0] == pytest.approx((1 + 2 * 0.5) / 3)


def test_where_all_films_are_of_one_patient_only_the_mean_speaks() -> None:
    truth = np.float32([[1], [0], [0], [0]])
    found = expected_labels(
        np.eye(4, dtype=np.float32), truth, np.ones((4, 1), bool), np.zeros(4, int), 2
    )
    np.testing.assert_allclose(found, 0.25)


def test_nothing_is_listed_where_no_neighbour_may_speak(films: Films) -> None:
    """All expectations are equal then; what rounding makes of their differences is no hint."""
    lonely = Flipped(films, films.labels)
    lonely.patient_codes = np.zeros(len(films), np.int64)
    assert hints(lonely, look(films), neighbours=20).empty


def test_cells_that_do_not_count_neither_speak_nor_are_listed(films: Films) -> None:
    labels = films.labels.copy()
    labels[:50, 0] = -1
    labels[50:100, 0] = np.nan
    changed = Flipped(films, labels)
    found = hints(changed, look(films), unstated="ignore", count=10_000)
    edema = found[found["finding"] == "Edema"]
    assert edema["row"].min() >= 100
    stated = hints(changed, look(films), unstated="absent", count=10_000)
    unstated = stated[(stated["finding"] == "Edema") & stated["row"].between(50, 99)]
    assert unstated["label"].isna().all()
    assert (unstated["expected"] > 0.3).all()  # they show it, and are taken as absent
    assert len(unstated)


def test_a_finding_that_the_source_never_states_is_not_listed(films: Films) -> None:
    changed = Flipped(films, films.labels)
    changed.labelled_by_source[:, 1] = False
    assert set(hints(changed, look(films), count=10_000)["finding"]) <= {"Edema"}


@pytest.mark.parametrize("spoil", ["short", "nan", "flat"])
def test_features_that_do_not_fit_are_refused(films: Films, spoil: str) -> None:
    features = look(films)
    wrong = {
        "short": features[:5],
        "nan": np.where(features > 1, np.nan, features),
        "flat": features[:, 0],
    }[spoil]
    with pytest.raises(ValueError, match="features are"):
        label_issues(films, np.arange(len(films)), wrong)
