import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from hilum.metrics import ranking
from hilum.metrics.ranking import (
    auroc,
    auroc_within_folds,
    average_precision,
    mean_auroc_within_folds,
    measures,
    rank,
)


@st.composite
def both_classes(draw, most=40, levels=8):
    """Truth with both classes, and scores with many ties."""
    count = draw(st.integers(2, most))
    truth = [1, 0, *draw(st.lists(st.integers(0, 1), min_size=count - 2, max_size=count - 2))]
    scores = draw(st.lists(st.integers(-levels, levels), min_size=count, max_size=count))
    return np.array(truth), np.array(scores) / 4


def naive_auroc(truth, scores, weights):
    won = total = 0.0
    for i in range(len(truth)):
        for j in range(len(truth)):
            if truth[i] == 1 and truth[j] == 0:
                pair = weights[i] * weights[j]
                total += pair
                won += pair * (
                    1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0
                )
    return won / total if total else float("nan")


def naive_average_precision(truth, scores, weights):
    positive = sum(w for w, t in zip(weights, truth, strict=True) if t)
    negative = sum(weights) - positive
    if not positive or not negative:
        return float("nan")
    result = 0.0
    for own_truth, own_score, own_weight in zip(truth, scores, weights, strict=True):
        if own_truth and own_weight:
            called = sum(w for w, s in zip(weights, scores, strict=True) if s >= own_score)
            found = sum(
                w for w, s, t in zip(weights, scores, truth, strict=True) if s >= own_score and t
            )
            result += own_weight * found / called
    return result / positive


@given(both_classes())
def test_equals_scikit_learn_with_ties(films):
    truth, scores = films
    assert auroc(truth, scores) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert average_precision(truth, scores) == pytest.approx(
        average_precision_score(truth, scores), abs=1e-12
    )


@pytest.mark.parametrize("digits", [1, 3, 16])
def test_equals_scikit_learn_on_many_films_with_weights(digits):
    rng = np.random.default_rng(digits)
    truth = (rng.random(5000) < 0.03).astype(int)
    scores, weights = (rng.normal(size=5000) + truth).round(digits), rng.random(5000)
    assert auroc(truth, scores, weights) == pytest.approx(
        roc_auc_score(truth, scores, sample_weight=weights), abs=1e-12
    )
    assert average_precision(truth, scores, weights) == pytest.approx(
        average_precision_score(truth, scores, sample_weight=weights), abs=1e-12
    )


@given(both_classes(most=15), st.data())
def test_equals_naive_loops_with_whole_weights(films, data):
    truth, scores = films
    weights = data.draw(st.lists(st.integers(0, 3), min_size=len(truth), max_size=len(truth)))
    expected = naive_auroc(truth, scores, weights), naive_average_precision(truth, scores, weights)
    found = auroc(truth, scores, weights), average_precision(truth, scores, weights)
    assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(both_classes())
def test_only_the_order_of_scores_matters(films):
    truth, scores = films
    for monotone in (np.exp(scores), scores**3 * 7 - 2, np.arctan(scores)):
        assert auroc(truth, monotone) == auroc(truth, scores)
        assert average_precision(truth, monotone) == average_precision(truth, scores)


@given(both_classes())
def test_turning_the_scores_or_the_truth_mirrors_the_area(films):
    truth, scores = films
    assert auroc(truth, -scores) == pytest.approx(1 - auroc(truth, scores), abs=1e-12)
    assert auroc(1 - truth, scores) == pytest.approx(1 - auroc(truth, scores), abs=1e-12)


@given(both_classes(), st.randoms())
def test_the_order_of_films_does_not_matter(films, random):
    truth, scores = films
    order = list(range(len(truth)))
    random.shuffle(order)
    assert auroc(truth[order], scores[order]) == auroc(truth, scores)
    assert average_precision(truth[order], scores[order]) == pytest.approx(
        average_precision(truth, scores), abs=1e-12
    )


@given(both_classes(most=12), st.data())
def test_a_whole_weight_is_that_many_copies(films, data):
    truth, scores = films
    weights = np.array(
        data.draw(st.lists(st.integers(1, 3), min_size=len(truth), max_size=len(truth)))
    )
    copied = np.repeat(truth, weights), np.repeat(scores, weights)
    assert auroc(truth, scores, weights) == pytest.approx(auroc(*copied), abs=1e-12)
    assert average_precision(truth, scores, weights) == pytest.approx(
        average_precision(*copied), abs=1e-12
    )


def test_one_score_for_all_is_chance():
    truth = [1, 0, 0, 1, 0]
    assert auroc(truth, [3.0] * 5) == 0.5
    assert average_precision(truth, [3.0] * 5) == pytest.approx(0.4)


@pytest.mark.parametrize("truth", [[0, 0, 0], [1, 1, 1], []])
def test_a_missing_class_is_nan_and_never_a_half(truth):
    scores = np.arange(float(len(truth)))
    assert np.isnan(auroc(truth, scores))
    assert np.isnan(average_precision(truth, scores))


def test_a_class_that_weighs_nothing_is_nan():
    assert np.isnan(auroc([0, 1, 1], [1.0, 2.0, 3.0], [0, 1, 1]))
    assert np.isnan(average_precision([0, 1, 1], [1.0, 2.0, 3.0], [1, 0, 0]))


def test_infinite_scores_rank():
    assert auroc([0, 1, 0, 1], [-np.inf, np.inf, 0.0, 1.0]) == 1.0


@pytest.mark.parametrize("digits", [3, 16])
def test_rows_of_weights_are_measured_alone_and_over_block_borders(digits):
    rng = np.random.default_rng(0)
    truth, scores = rng.integers(0, 2, 3000), rng.normal(size=3000).round(digits)
    patients = rng.integers(0, 700, 3000)
    weights = rng.integers(0, 4, size=(200, 700)).astype(np.uint16)
    ranked = rank(truth, scores, patients)
    assert 200 / (ranking._BLOCK_CELLS / len(ranked.reached)) > 1  # several blocks
    areas, precisions = measures(ranked, weights)
    assert areas.shape == precisions.shape == (200,)
    for row in range(200):
        film_weights = weights[row][patients]
        assert areas[row] == auroc(truth, scores, film_weights)
        assert precisions[row] == pytest.approx(
            average_precision(truth, scores, film_weights), abs=1e-12
        )


def test_weights_too_large_for_float32_stay_exact():
    rng = np.random.default_rng(0)
    truth, scores = rng.integers(0, 2, 300), rng.normal(size=300).round(1)
    weights = rng.integers(0, 1 << 31, size=(3, 300))
    areas, precisions = measures(rank(truth, scores), weights)
    for row in range(3):
        assert areas[row] == pytest.approx(
            roc_auc_score(truth, scores, sample_weight=weights[row]), abs=1e-12
        )
        expected = average_precision_score(truth, scores, sample_weight=weights[row])
        assert precisions[row] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("truth", "scores", "message"),
    [
        ([0, 1, -1], [1.0, 2.0, 3.0], "truth must be 0 or 1"),
        ([0.0, 1.0, np.nan], [1.0, 2.0, 3.0], "truth must be 0 or 1"),
        ([0, 1], [1.0, np.nan], "a score is nan"),
        ([0, 1], [1.0], "must be \\[N\\] alike"),
        ([[0, 1]], [[1.0, 2.0]], "must be \\[N\\] alike"),
    ],
)
def test_what_cannot_be_ranked_is_refused(truth, scores, message):
    with pytest.raises(ValueError, match=message):
        auroc(truth, scores)


@pytest.mark.parametrize("weights", [[1.0, -1.0], [1.0], [1.0, np.nan]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="weights must be"):
        auroc([0, 1], [1.0, 2.0], weights)


def by_pairs(truth: np.ndarray, scores: np.ndarray, folds: np.ndarray) -> float:
    wins, pairs = 0.0, 0
    for i in np.flatnonzero(truth == 1):
        for j in np.flatnonzero(truth == 0):
            if folds[i] == folds[j]:
                pairs += 1
                wins += 1.0 if scores[i] > scores[j] else 0.5 * (scores[i] == scores[j])
    return wins / pairs if pairs else float("nan")


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_share_of_the_pairs_of_one_fold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = (rng.random(60) < 0.3).astype(np.float32)
    scores, folds = rng.integers(0, 12, 60).astype(np.float32), rng.integers(0, 4, 60)
    assert auroc_within_folds(truth, scores, folds) == pytest.approx(by_pairs(truth, scores, folds))
    whole = np.zeros(60, np.int64)
    assert auroc_within_folds(truth, scores, whole) == pytest.approx(auroc(truth, scores))


def test_a_shift_of_one_folds_scores_changes_nothing_unlike_the_pooled_auroc() -> None:
    rng = np.random.default_rng(0)
    truth, folds = np.tile([0.0, 1.0], 20).astype(np.float32), np.repeat([0, 1], 20)
    scores = (truth + 0.5 * rng.random(40)).astype(np.float32)
    shifted = scores + 10 * folds.astype(np.float32)
    assert (
        auroc_within_folds(truth, shifted, folds) == auroc_within_folds(truth, scores, folds) == 1
    )
    assert auroc(truth, shifted) < 0.8


def test_a_finding_whose_folds_lack_a_kind_is_left_out_of_the_mean() -> None:
    truth = np.array([[1, 1], [0, 1], [1, 0], [0, 0]], np.float32)
    folds, scores = np.array([0, 0, 1, 1]), truth + 0.5
    everything = np.ones((4, 2), np.bool_)
    assert mean_auroc_within_folds(truth, everything, scores, folds) == 1.0  # of the first alone
    nothing = np.zeros((4, 2), np.bool_)
    assert mean_auroc_within_folds(truth, nothing, scores, folds) is None
