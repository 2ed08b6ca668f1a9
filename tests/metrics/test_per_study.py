import numpy as np
import pytest

from hilum.metrics.per_study import per_study


def films(seed=0, count=60):
    """Truth, mask, scores of two models, studies and patients of films in no order."""
    rng = np.random.default_rng(seed)
    studies = rng.integers(0, 25, count)
    truth = (rng.random((count, 3)) < 0.4).astype(float)
    mask = rng.random((count, 3)) < 0.7
    return np.where(mask, truth, np.nan), mask, rng.random((2, count, 3)), studies, studies // 3


def test_a_study_is_what_a_loop_over_its_films_finds():
    truth, mask, scores, studies, patients = films()
    found = per_study(truth, mask, scores, studies, patients)
    for place, study in enumerate(np.unique(studies)):
        rows = np.flatnonzero(studies == study)
        assert found.patients[place] == study // 3
        for finding in range(3):
            said = [truth[row, finding] for row in rows if mask[row, finding]]
            assert found.mask[place, finding] == bool(said)
            assert found.truth[place, finding] == max(said, default=0.0)
            for model in range(2):
                expected = max(scores[model, row, finding] for row in rows)
                assert found.scores[model, place, finding] == expected


def test_one_film_a_study_changes_nothing_but_what_is_masked():
    truth, mask, scores, _, _ = films()
    found = per_study(truth, mask, scores[0], np.arange(60), np.arange(60))
    assert (found.scores == scores[0]).all()
    assert (found.mask == mask).all()
    assert (found.truth == np.nan_to_num(truth)).all()


def test_names_serve_as_codes_do():
    truth, mask, scores, studies, patients = films()
    named = per_study(
        truth, mask, scores, [f"s{study:02d}" for study in studies], [f"p{who}" for who in patients]
    )
    coded = per_study(truth, mask, scores, studies, patients)
    assert (named.scores == coded.scores).all()
    assert [f"p{who}" for who in coded.patients] == named.patients.tolist()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"patients": np.arange(60)}, "two patients"),
        ({"scores": np.zeros((60, 2))}, "must be"),
        ({"studies": np.zeros(3)}, "studies and patients"),
        ({"mask": np.ones((60, 1))}, "must be"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    truth, mask, scores, studies, patients = films()
    arguments = {
        "truth": truth,
        "mask": mask,
        "scores": scores,
        "studies": studies,
        "patients": patients,
    }
    with pytest.raises(ValueError, match=message):
        per_study(**{**arguments, **changed})
