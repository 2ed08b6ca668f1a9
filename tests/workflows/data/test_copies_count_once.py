"""Exact copies under other names count once: in fractions, masks, probes, lists, pseudo-labels and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.catalog import Catalog, film_table
from hilum.duplicates.stored import known_and_found, known_copies
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.images.store import Store
from hilum.images.store_writing import write_store
from hilum.splits import Split, official_or_patient_split, patient_split
from hilum.training.batches import Batches, shuffled
from hilum.workflows.card.label_issues import expected_labels
from hilum.workflows.card.leakage import copy_list
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.evaluate.evaluate import evaluate
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.evaluate.probe import HELD_OUT
from hilum.workflows.prepare.split import SplitOptions, describe, split
from hilum.workflows.train.online_probe import patient_slice
from hilum.workflows.train.pretrain import pretraining_rows

FINDINGS = ("Edema", "Mass")
SIZE = 32


def archive(
    folder: Path,
    pictures: Sequence[int],
    patients: Sequence[str],
    *,
    source: str = "set",
    parts: Sequence[str | None] = (),
    flipped: Sequence[int] = (),
) -> Path:
    """Write a store of numbered pictures, equal numbers equal pixels and labels but those flipped; no split."""
    drawn = np.random.default_rng(7).integers(0, 256, (max(pictures) + 1, SIZE, SIZE))
    images = drawn.astype(np.uint8)[list(pictures)]
    labels = (np.random.default_rng(8).random((max(pictures) + 1, 2)) < 0.4)[list(pictures)]
    labels[list(flipped), 0] ^= True
    rows = pd.DataFrame({"path": [f"{row}.png" for row in range(len(pictures))]})
    rows = rows.assign(patient=list(patients), study=list(patients))
    rows["part"] = list(parts) or None
    rows[list(FINDINGS)] = labels.astype(np.float32)
    catalog = Catalog(source, folder, FINDINGS, film_table(rows, FINDINGS), len(rows))
    write_store(folder, catalog, images, Preparation(SIZE))
    return folder


def doubled(folder: Path, people: int = 40, **given: object) -> Path:
    """Write an archive that holds itself twice, under other patients' names, and split it by patient."""
    names = [f"p{person}" for person in range(people)]
    pictures = [*range(people), *np.random.default_rng(1).permutation(people).tolist()]
    archive(folder, pictures, [*names, *(f"again {name}" for name in names)], **given)  # type: ignore[arg-type]
    split(folder, SplitOptions(seed=3, test=0.2, val=0.2))
    return folder


def pictures_of(films: Films, rows: np.ndarray) -> set[str]:
    return set(films.catalog["pixels"].iloc[rows])


@pytest.mark.parametrize("seed", [0, 1, 2, 7])
def test_a_fraction_takes_whole_people_nested_and_in_number(tmp_path: Path, seed: int) -> None:
    films = Films.open([doubled(tmp_path / "s")])
    subsets = Subsets.of(films)
    every = subsets.rows("train")
    people = subsets.patients(every)
    assert people == 24
    smaller: set[int] = set()
    for fraction in (0.1, 0.37, 0.5, 1.0):
        rows = subsets.rows("train", fraction, seed)
        assert subsets.patients(rows) == round(fraction * people)
        left = np.setdiff1d(every, rows)
        assert not pictures_of(films, rows) & pictures_of(films, left)
        assert smaller <= set(rows.tolist())
        smaller = set(rows.tolist())


def test_one_person_of_many_names_is_one_of_the_fraction(tmp_path: Path) -> None:
    pictures = [*range(20), *[0] * 30]
    folder = archive(tmp_path / "s", pictures, [f"p{row}" for row in range(50)])
    opened = Store.open(folder)
    made = patient_split(opened.catalog, FINDINGS, 0, 0, 0, copies=known_copies(opened))
    made.save(folder)
    subsets = Subsets.of(Films.open([folder]))
    for seed in range(6):
        rows = subsets.rows("train", 0.5, seed)
        assert subsets.patients(rows) == 10
        assert len(rows) in (10, 40)
    told = describe(opened, made)
    assert (told.fractions["0.5"].patients, told.parts["train"].patients) == (10, 20)


def test_without_copies_fractions_are_those_of_the_split_alone(tmp_path: Path) -> None:
    folder = archive(tmp_path / "s", range(60), [f"p{row // 2}" for row in range(60)])
    split(folder, SplitOptions(seed=5))
    films, made = Films.open([folder]), Split.load(folder)
    subsets = Subsets.of(films)
    for fraction in (0.1, 0.5):
        for seed in (0, 4):
            alone = made.rows(films.catalog.assign(patient=films.stores[0].catalog["patient"]),
                              "train", fraction, seed)  # fmt: skip
            assert subsets.rows("train", fraction, seed).tolist() == alone.tolist()


def test_a_copy_in_another_store_of_the_run_is_not_left_unlabelled(tmp_path: Path) -> None:
    first = doubled(tmp_path / "a", source="one")
    second = doubled(tmp_path / "b", source="two")
    films = Films.open([first], unlabelled=[second])
    subsets = Subsets.of(films)
    own = subsets.rows("train", 0.1)
    own = own[own < films.starts[1]]
    others = subsets.of_others(subsets.rows("train"), own)
    assert len(others)
    assert not pictures_of(films, own) & pictures_of(films, others)


@pytest.mark.parametrize("official", ["test", "official-test"])
def test_copies_of_test_films_are_never_pretrained_on(tmp_path: Path, official: str) -> None:
    parts = [official] * 6 + ["train"] * 14 + ["train"] * 6 + ["val"] * 4
    pictures = [*range(20), 0, 1, 2, 3, 4, 5, *range(20, 24)]
    folder = archive(tmp_path / "s", pictures, [f"p{row}" for row in range(30)], parts=parts)
    opened = Store.open(folder)
    for made in (
        official_or_patient_split(opened.catalog, FINDINGS, copies=known_copies(opened)),
        patient_split(opened.catalog, FINDINGS, 1, 0.2, 0.2, copies=known_copies(opened)),
    ):
        made.save(folder)
        films = Films.open([folder])
        subsets = Subsets.of(films)
        rows = pretraining_rows(subsets, with_validation=True)
        tested = [subsets.rows(part) for part in ("test", "official-test")]
        held_out = pictures_of(films, np.concatenate(tested))
        assert {films.catalog["pixels"].iloc[row] for row in range(6)} <= held_out
        assert not pictures_of(films, rows) & held_out


def test_a_batch_names_the_person_so_no_copy_is_a_negative(tmp_path: Path) -> None:
    films = Films.open([doubled(tmp_path / "s", people=12)])
    pixels = films.catalog["pixels"]
    ((_, batch),) = list(Batches(films, shuffled(np.arange(24), 0), 24).run(0, 1))
    same = np.equal.outer(*[pixels[batch.index.numpy()].to_numpy()] * 2)
    assert np.array_equal(batch.patient.numpy()[:, None] == batch.patient.numpy()[None], same)


def test_probes_hold_out_whole_people(tmp_path: Path) -> None:
    films = Films.open([doubled(tmp_path / "s")])
    rows = np.arange(len(films))
    fitted, scored = patient_slice(rows, films.patient_codes, 60, seed=2)
    assert len(fitted)
    assert len(scored)
    assert not pictures_of(films, fitted) & pictures_of(films, scored)
    people = np.unique(films.patient_codes)
    assert len(people) // HELD_OUT == 8  # of 40 people, though 80 patients are named


def test_a_copy_is_no_neighbour_that_vouches_for_its_label(tmp_path: Path) -> None:
    folder = archive(tmp_path / "s", [0, 1, 2, 3, 0], list("abcde"), flipped=[4])
    films = Films.open([folder])
    truth = np.array([[1], [0], [1], [0], [1]], np.float32)
    features = np.eye(5, 8, dtype=np.float32)
    features[4] = features[0]  # the copy is nearest
    features[1, 0] = 0.9  # then film 1
    counts = np.ones((5, 1), bool)
    people = expected_labels(features, truth, counts, films.patient_codes, neighbours=1)
    named = expected_labels(features, truth, counts, films.named_patients, neighbours=1)
    prior = truth.mean()
    assert people[0, 0] == pytest.approx((0 + 2 * prior) / 3)
    assert named[0, 0] == pytest.approx((1 + 2 * prior) / 3)


def test_copies_with_other_labels_are_listed_with_the_findings(tmp_path: Path) -> None:
    folder = archive(tmp_path / "s", [*range(12), 0, 1, 2], [f"p{row}" for row in range(15)],
                     flipped=[13])  # fmt: skip
    split(folder, SplitOptions(test=0.2, val=0.2))
    films = Films.open([folder])
    listed = copy_list(Subsets.of(films), known_and_found(films))
    found = listed.set_index("path_second")["contradicting"].to_dict()
    assert {path: found[path] for path in ("12.png", "13.png", "14.png")} == {
        "12.png": "",
        "13.png": "Edema",
        "14.png": "",
    }


def test_an_archive_that_holds_itself_twice_has_the_intervals_of_once(
    tmp_path: Path, classifier: Path
) -> None:
    names = [f"p{row}" for row in range(40)]
    once = archive(tmp_path / "once", range(40), names, source="once")
    twice = archive(tmp_path / "twice", [*range(40), *range(40)],
                    [*names, *(f"again {name}" for name in names)], source="twice")  # fmt: skip
    results = []
    for store in (once, twice):
        split(store, SplitOptions())
        asked = EvaluateOptions(
            data=store, split="all", min_positives=2, resamples=60, device="cpu"
        )
        results.append(evaluate(classifier, asked).evaluation)
    one, two = results
    assert (one.films, two.films) == (40, 80)
    assert (one.patients, two.patients) == (40, 40)
    assert one.auroc_macro.interval is not None
    assert two.auroc_macro.interval == pytest.approx(one.auroc_macro.interval, abs=1e-9)
    for first, second in zip(one.findings, two.findings, strict=True):
        assert first.positive_patients == second.positive_patients
        assert second.measures["auroc"].interval == pytest.approx(
            first.measures["auroc"].interval, abs=1e-9
        )
