import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from hilum.metrics.thresholds import (
    CALLED_MEASURES,
    Confusion,
    best_threshold,
    called_measures,
    confusion_cells,
)

FILMS = st.lists(st.tuples(st.integers(0, 1), st.integers(-5, 5)), min_size=2, max_size=30)


def naive_merit(truth, called):
    return (truth & called).sum() / truth.sum() + (~truth & ~called).sum() / (~truth).sum() - 1


def confusion(truth, scores, threshold):
    return Confusion(
        *(
            cell.sum()
            for cell in confusion_cells(np.array(truth, bool), np.array(scores), threshold)
        )
    )


@given(FILMS)
def test_no_threshold_serves_better(films):
    truth, scores = np.array([t for t, _ in films], dtype=bool), np.array([s for _, s in films]) / 4
    assume(truth.any() and not truth.all())
    chosen = best_threshold(truth, scores)
    merits = {cut: naive_merit(truth, scores >= cut) for cut in np.unique(scores)}
    best = max(merits.values())
    assert naive_merit(truth, scores >= chosen) == pytest.approx(best)
    highest = max(cut for cut, merit in merits.items() if merit >= best - 1e-12)
    assert (scores >= chosen).sum() == (scores >= highest).sum()


def test_the_threshold_lies_between_neighbours():
    assert best_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9]) == pytest.approx(0.4)


def test_thresholds_are_not_a_half():
    rng = np.random.default_rng(0)
    truth = rng.random(4000) < 0.05
    probability = 1 / (1 + np.exp(-(rng.normal(size=4000) + 2 * truth - 4)))
    assert best_threshold(truth, probability) < 0.2


def test_all_called_where_that_is_best():
    assert best_threshold([0, 0, 1], [0.5, 0.5, 0.3]) == 0.3


def test_neighbouring_and_infinite_scores():
    low = np.float64(0.5)
    high = np.nextafter(low, 1)
    assert best_threshold([0, 1], [low, high]) == high
    assert best_threshold([0, 1], [-np.inf, 2.0]) == 2.0
    assert best_threshold([0, 1], [1.0, np.inf]) == np.inf


@pytest.mark.parametrize("truth", [[0, 0], [1, 1]])
def test_without_both_classes_there_is_no_threshold(truth):
    assert np.isnan(best_threshold(truth, [0.1, 0.2]))


@given(FILMS, st.integers(-6, 6))
def test_measures_equal_scikit_learn(films, cut):
    truth, scores = np.array([t for t, _ in films]), np.array([s for _, s in films]) / 4
    called, found = scores >= cut / 4, called_measures(confusion(truth, scores, cut / 4))
    expected = {
        "accuracy": accuracy_score(truth, called),
        "precision": precision_score(truth, called, zero_division=np.nan),
        "recall": recall_score(truth, called, zero_division=np.nan),
        "specificity": recall_score(1 - truth, ~called, zero_division=np.nan),
        "f1": f1_score(truth, called, zero_division=np.nan),
    }
    assert tuple(found) == CALLED_MEASURES
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_a_score_at_the_threshold_is_called():
    assert [float(cell) for cell in confusion([1, 0], [0.5, 0.4], 0.5)] == [1, 0, 0, 1]


def test_nothing_to_divide_by_is_nan():
    shares = called_measures(Confusion(*np.zeros((4, 2))))
    assert all(np.isnan(share).all() for share in shares.values())
