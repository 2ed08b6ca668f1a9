"""Who is filmed and what reports say: CheXpert's shares, or even ones; consistent within a study."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hilum.errors import OptionError
from hilum.findings import CHEXPERT
from hilum.phantoms import PhantomOptions
from hilum.phantoms.cohort import Film, cohort
from hilum.phantoms.rates import counts

FILMS = 223_414
NAMES = list(CHEXPERT)


@pytest.fixture(scope="module")
def chexpert() -> list[Film]:
    return cohort(PhantomOptions(count=30_000, seed=3))


@pytest.fixture(scope="module")
def even() -> list[Film]:
    return cohort(PhantomOptions(count=12_000, seed=3, prevalence="even"))


def stated(films: list[Film]) -> np.ndarray:
    return np.array([film.stated for film in films])


def truth(films: list[Film]) -> np.ndarray:
    return np.array([film.truth for film in films])


@pytest.mark.parametrize(("key", "value"), [("present", 1.0), ("absent", 0.0), ("uncertain", -1.0)])
def test_each_kind_of_cell_is_as_frequent_as_in_chexpert(
    chexpert: list[Film], key: str, value: float
) -> None:
    found = (stated(chexpert) == value).mean(0)
    wanted = np.array([counts()[key][name] for name in NAMES]) / FILMS
    # Films of a patient resemble each other: the error is about twice that of independent films.
    assert np.all(np.abs(found - wanted) < 0.004 + 8 * np.sqrt(wanted / len(chexpert)))


def test_findings_occur_together_as_in_chexpert(chexpert: list[Film]) -> None:
    present = (stated(chexpert) == 1).astype(float)
    found = present.T @ present / len(present)
    wanted = np.array(counts()["present_together"]) / FILMS
    assert np.abs(found - wanted).max() < 0.02
    often = wanted > 0.02
    assert np.all(np.abs(found / np.where(often, wanted, 1) - 1)[often] < 0.2)


def test_cooccurrence_is_not_that_of_independent_findings(chexpert: list[Film]) -> None:
    present = stated(chexpert) == 1
    edema, heart = present[:, NAMES.index("Edema")], present[:, NAMES.index("Cardiomegaly")]
    together = (
        counts()["present_together"][NAMES.index("Edema")][NAMES.index("Cardiomegaly")] / FILMS
    )
    assert together > 1.7 * 0.234 * 0.121  # what the file says, against independence
    assert (edema & heart).mean() == pytest.approx(together, rel=0.15)


def test_projection_changes_prevalence_as_in_chexpert(chexpert: list[Film]) -> None:
    position = np.array([film.position for film in chexpert])
    present = stated(chexpert) == 1
    for view, tolerance in (("AP", 0.02), ("PA", 0.035)):
        table = counts()["present_by_projection"][view]
        wanted = np.array([table[name] for name in NAMES]) / table["films"]
        assert np.abs(present[position == view].mean(0) - wanted).max() < tolerance


def test_projections_ages_and_sexes_are_as_frequent_as_in_chexpert(chexpert: list[Film]) -> None:
    position = np.array([film.position for film in chexpert])
    for view, films in (("AP", 161_590), ("PA", 29_420), ("LATERAL", 32_387)):
        assert (position == view).mean() == pytest.approx(films / FILMS, abs=0.012)
    assert np.mean([film.sex == "Male" for film in chexpert]) == pytest.approx(0.594, abs=0.02)
    assert min(film.age for film in chexpert) >= 0
    assert max(film.age for film in chexpert) == 90


def test_even_findings_are_neither_rare_nor_common(even: list[Film]) -> None:
    prevalence = truth(even).mean(0)
    assert prevalence.min() > 0.18
    assert prevalence.max() < 0.35


def test_even_train_cells_are_of_all_three_kinds(even: list[Film]) -> None:
    cells = stated(even)[:, 1:]
    assert np.isnan(cells).mean() > 0.2
    assert np.all((cells == -1).mean(0) > 0.02)
    assert np.all((cells == 0).mean(0) > 0.2)
    present = truth(even)[:, 1:] == 1
    assert (cells[present] == 1).mean() > 0.85


def test_even_findings_ignore_projection_age_and_sex(even: list[Film]) -> None:
    labels = truth(even)
    facts = [
        [film.position == "AP", film.position == "LATERAL", film.sex == "Male", film.age]
        for film in even
    ]
    for fact in np.array(facts, float).T:
        for place in range(len(NAMES)):
            assert abs(roc_auc_score(labels[:, place], fact) - 0.5) < 0.035


@pytest.mark.parametrize("prevalence", ["chexpert", "even"])
def test_no_finding_means_that_nothing_but_devices_is_there(prevalence: str) -> None:
    films = cohort(PhantomOptions(count=3000, prevalence=prevalence))
    values, said = truth(films), stated(films)
    assert np.array_equal(values[:, 0] == 1, values[:, 1:-1].sum(1) == 0)
    clear = said[:, 0] == 1
    assert clear.any()
    assert not np.isin(said[clear][:, 1:-1], [1, -1]).any()
    assert values[clear, 0].all()


def test_what_is_stated_is_true(chexpert: list[Film]) -> None:
    said, values = stated(chexpert)[:, 1:], truth(chexpert)[:, 1:]
    assert values[said == 1].all()
    assert not values[said == 0].any()
    assert not values[np.isnan(said)].any()


def test_uncertain_cells_are_present_as_often_as_asked() -> None:
    shares = {"Edema": 1.0, "Atelectasis": 0.0, "Consolidation": 0.8}
    films = cohort(PhantomOptions(count=12_000, uncertain_truth=shares))
    said, values = stated(films), truth(films)
    for name, share in {**shares, "Pneumonia": 0.5}.items():
        place = NAMES.index(name)
        uncertain = values[said[:, place] == -1, place]
        assert len(uncertain) > 300
        assert uncertain.mean() == pytest.approx(share, abs=0.06 if 0 < share < 1 else 0)


def test_films_of_a_study_share_their_findings(chexpert: list[Film]) -> None:
    studies: dict[tuple[int, int], set[tuple[float, ...]]] = {}
    for film in chexpert:
        studies.setdefault((film.patient, film.study), set()).add(film.truth)
    assert all(len(findings) == 1 for findings in studies.values())
    assert len(studies) < len(chexpert)
    assert len({film.patient for film in chexpert}) < len(studies)


def test_a_larger_set_begins_with_the_smaller_one() -> None:
    small, large = (cohort(PhantomOptions(count=number, seed=5)) for number in (50, 90))
    assert [(film.name, film.truth) for film in large[:50]] == [
        (film.name, film.truth) for film in small
    ]


def test_another_seed_draws_others() -> None:
    assert [film.truth for film in cohort(PhantomOptions(count=50))] != [
        film.truth for film in cohort(PhantomOptions(count=50, seed=1))
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"count": 0}, "count 0 is not possible"),
        ({"size": 16}, "from 32 to 2048"),
        ({"seed": -1}, "seed -1"),
        ({"prevalence": "evne"}, "Did you mean 'even'?"),
        ({"uncertain_truth": {"Edemma": 0.5}}, "Did you mean 'Edema'?"),
        ({"uncertain_truth": {"No Finding": 0.5}}, "'No Finding'"),
        ({"uncertain_truth": {"Edema": 1.5}}, "from 0 to 1"),
    ],
)
def test_impossible_options_are_refused_in_one_line(change: dict[str, object], words: str) -> None:
    with pytest.raises(OptionError) as caught:
        replace(PhantomOptions(), **change)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_doubtful_phantoms_are_mostly_uncertain_and_as_true_as_planted() -> None:
    planted = dict.fromkeys(CHEXPERT[1:], 0.8)
    films = cohort(PhantomOptions(count=8_000, prevalence="doubtful", uncertain_truth=planted))
    known, said = truth(films), stated(films)
    np.testing.assert_allclose((said == 1).mean(0)[1:-1], 0.1, atol=0.02)
    np.testing.assert_allclose((said == -1).mean(0)[1:], 0.4, atol=0.03)
    assert known[said == -1].mean() == pytest.approx(0.8, abs=0.01)
    assert not (said[:, 0] == -1).any()
