import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from hilum.metrics.delong import auroc_covariance, components


def films(seed=0, patients=25, seeds=1, models=2, tied=False):
    """Truth, scores of models [S, N] that err alike, and patients of several films each, in no order."""
    rng = np.random.default_rng(seed)
    who = rng.permutation(np.repeat(np.arange(patients), rng.integers(1, 6, patients)))
    truth = ((rng.normal(size=patients)[who] + rng.normal(size=len(who))) > 0.3).astype(int)
    common = rng.normal(size=patients)[who] + 0.5 * rng.normal(size=len(who))
    scores = [truth + common + rng.normal(size=(seeds, len(who))) for _ in range(models)]
    return truth, [np.round(model, 0 if tied else 9) for model in scores], who


def kernel(positive, negative):
    return 1.0 if positive > negative else 0.5 if positive == negative else 0.0


def naive(truth, models, who):
    """Obuchowski 1997, equations 1 to 5, by loops over films and patients."""
    positives, negatives = np.flatnonzero(truth == 1), np.flatnonzero(truth == 0)
    m, n = len(positives), len(negatives)
    areas, x, y = [], [], []
    for seeds in models:
        pairs = np.array(
            [[np.mean([kernel(s[i], s[j]) for s in seeds]) for j in negatives] for i in positives]
        )
        areas.append(pairs.mean())
        x.append(dict(zip(positives, pairs.mean(axis=1), strict=True)))
        y.append(dict(zip(negatives, pairs.mean(axis=0), strict=True)))
    people = np.unique(who)
    with_it, without = len(np.unique(who[truth == 1])), len(np.unique(who[truth == 0]))
    covariance = np.zeros((len(models), len(models)))
    for a in range(len(models)):
        for b in range(len(models)):
            s10 = s01 = s11 = s11b = 0.0
            for person in people:
                mine, other = (
                    [i for i in positives if who[i] == person],
                    [j for j in negatives if who[j] == person],
                )
                xa, xb = (sum(x[k][i] - areas[k] for i in mine) for k in (a, b))
                ya, yb = (sum(y[k][j] - areas[k] for j in other) for k in (a, b))
                s10, s01, s11, s11b = s10 + xa * xb, s01 + ya * yb, s11 + xa * yb, s11b + xb * ya
            s10 *= with_it / ((with_it - 1) * m)
            s01 *= without / ((without - 1) * n)
            both = len(people) / (len(people) - 1) * (s11 + s11b)
            covariance[a, b] = s10 / m + s01 / n + both / (m * n)
    return areas, covariance


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_brute_force_over_pairs_and_patients(seed, seeds, tied):
    truth, models, who = films(seed, seeds=seeds, models=3, tied=tied)
    found = auroc_covariance(truth, models, who)
    areas, covariance = naive(truth, models, who)
    assert found.auroc == pytest.approx(areas, abs=1e-13)
    assert found.covariance == pytest.approx(covariance, abs=1e-15)
    assert found.patients == min(len(np.unique(who[truth == 1])), len(np.unique(who[truth == 0])))


@pytest.mark.parametrize("tied", [False, True])
def test_one_film_a_patient_is_plain_delong(tied):
    truth, models, _ = films(5, patients=40, tied=tied)
    found = auroc_covariance(truth, models, np.arange(len(truth)))
    parts = [components(truth, scores[0]) for scores in models]
    above, below = np.stack([p.positives for p in parts]), np.stack([p.negatives for p in parts])
    expected = (
        np.cov(above) / above.shape[1] + np.cov(below) / below.shape[1]
    )  # DeLong 1988, equation 4
    assert found.covariance == pytest.approx(expected, abs=1e-15)


def test_delongs_variance_is_how_far_the_auroc_varies_over_cohorts():
    found = [auroc_covariance(*films(seed, patients=60)) for seed in range(400)]
    spread = np.cov(np.stack([one.auroc for one in found]).T)
    mean = np.mean([one.covariance for one in found], axis=0)
    assert mean == pytest.approx(spread, rel=0.2)  # a variance of 400 is known to 7 %


def test_clustering_counts():
    truth, models, who = films(3, patients=30)
    copies = np.repeat(truth, 4), [np.repeat(scores, 4, axis=1) for scores in models]
    clustered, alone = (
        auroc_covariance(*copies, np.repeat(who, 4)),
        auroc_covariance(*copies, np.arange(4 * len(who))),
    )
    assert clustered.covariance == pytest.approx(
        auroc_covariance(truth, models, who).covariance, abs=1e-15
    )
    assert (np.diag(clustered.covariance) > 3 * np.diag(alone.covariance)).all()


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-4, 4)), min_size=2, max_size=40))
def test_both_components_have_scikit_learns_auroc_as_mean(cells):
    truth, scores = (
        np.array([1, 0, *(t for t, _ in cells)]),
        np.array([0, 0, *(s for _, s in cells)]) / 2,
    )
    parts = components(truth, scores)
    expected = roc_auc_score(truth, scores)
    assert parts.positives.mean() == pytest.approx(expected, abs=1e-12)
    assert parts.negatives.mean() == pytest.approx(expected, abs=1e-12)


def test_a_model_does_not_differ_from_itself():
    truth, models, who = films()
    value, error = auroc_covariance(truth, [models[0], models[0]], who).difference(0, 1)
    assert (value, error) == (0.0, 0.0)


def test_the_error_of_a_difference_is_that_of_its_covariance():
    truth, models, who = films()
    found = auroc_covariance(truth, models, who)
    (a, both), (_, b) = found.covariance
    assert found.difference(1, 0) == pytest.approx(
        (found.auroc[1] - found.auroc[0], (a + b - 2 * both) ** 0.5)
    )


@pytest.mark.parametrize(
    ("truth", "who"),
    [([1, 1, 0, 0], [0, 0, 1, 2]), ([1, 1, 0, 0], [0, 1, 2, 2]), ([0, 0, 0], [0, 1, 2])],
)
def test_fewer_than_two_patients_of_a_class_are_refused(truth, who):
    with pytest.raises(ValueError, match="2 of each are needed"):
        auroc_covariance(truth, [np.arange(len(truth))], who)


def test_a_missing_class_is_refused():
    with pytest.raises(ValueError, match="with and without"):
        components([1, 1], [0.1, 0.2])
