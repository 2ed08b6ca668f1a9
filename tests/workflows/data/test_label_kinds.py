"""Findings whose labels that count are all of one kind get no output, and a line says why."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from heard import Heard

from hilum.catalog import Catalog, film_table
from hilum.errors import DataError
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.images.store_writing import write_store
from hilum.labels import LabelOptions
from hilum.splits import patient_split
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.data.targets import label_kinds, training_labels
from hilum.workflows.evaluate.options import ProbeOptions
from hilum.workflows.evaluate.probe import probe
from hilum.workflows.train.options import FinetuneOptions
from hilum.workflows.train.training_set import TrainingSet

FINDINGS = ("No Finding", "Edema", "Fracture")


def store_of(folder: Path, labels: np.ndarray, source: str = "made") -> Path:
    """A store of films, each of its own patient, with these labels [n, 3]."""
    count = len(labels)
    rows = {
        "path": [f"{source}-{number}.png" for number in range(count)],
        "patient": [f"p{number}" for number in range(count)],
        "study": [f"s{number}" for number in range(count)],
        **{name: labels[:, place] for place, name in enumerate(FINDINGS)},
    }
    table = film_table(pd.DataFrame(rows), FINDINGS)
    images = np.random.default_rng(len(source)).integers(0, 255, (count, 32, 32)).astype(np.uint8)
    store = write_store(
        folder, Catalog(source, Path("/nowhere"), FINDINGS, table, count), images, Preparation(32)
    )
    patient_split(store.catalog, store.findings, 0, test=0.2, val=0.2).save(folder)
    return folder


def labels(count: int = 60) -> np.ndarray:
    """CheXpert's way: No Finding is 1 or empty, Edema both, Fracture absent or uncertain."""
    rng = np.random.default_rng(0)
    edema = (rng.random(count) < 0.5).astype(np.float32)
    nothing = np.where(edema == 0, 1, np.nan)
    fracture = np.where(rng.random(count) < 0.5, -1, 0)
    return np.stack([nothing, edema, fracture], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of(tmp_path_factory.mktemp("kinds") / "store", labels())


def learnt(*stores: Path, fraction: float = 1.0, **options: object) -> TrainingSet:
    films = Films.open(stores)
    asked = FinetuneOptions(
        data=stores, out=Path("nowhere"), fraction=fraction, labels=LabelOptions(**options)
    )
    return TrainingSet.of(films, Subsets.of(films), asked)


PRESENT = "every training label that counts says present for {}: left out"
ABSENT = "every training label that counts says absent for {}: left out"


@pytest.mark.parametrize(
    ("options", "findings", "lines"),
    [
        ({"unstated": "absent"}, ("No Finding", "Edema"), [ABSENT.format("Fracture")]),
        (
            {"unstated": "ignore"},
            ("Edema",),
            [PRESENT.format("No Finding"), ABSENT.format("Fracture")],
        ),
        ({"uncertain": "ones"}, FINDINGS, []),
        ({"uncertain": "smooth"}, FINDINGS, []),
        (
            {"uncertain": "smooth", "smooth": 0.15},
            ("No Finding", "Edema"),
            [ABSENT.format("Fracture")],
        ),
        ({"uncertain": "zeros"}, ("No Finding", "Edema"), [ABSENT.format("Fracture")]),
        ({"uncertain": "multiclass"}, ("No Finding", "Edema"), [ABSENT.format("Fracture")]),
        ({"uncertain": "self-train"}, ("No Finding", "Edema"), [ABSENT.format("Fracture")]),
        ({"per_finding": {"Fracture": "ones"}}, FINDINGS, []),
    ],
)
def test_a_finding_of_one_kind_has_no_output_and_a_line(store, options, findings, lines):
    training = learnt(store, **options)
    assert training.findings == findings
    assert training.left_out == lines
    assert training.labels.targets.shape[1] == len(findings)
    assert training.labels.weights[training.rows].any(axis=1).all()


def test_films_with_labels_of_left_out_findings_alone_are_not_counted(tmp_path):
    cells = labels()
    cells[10:, 1] = np.nan  # Edema is stated on ten films
    training = learnt(store_of(tmp_path / "store", cells), unstated="ignore")
    assert training.findings == ("Edema",)
    assert training.labelled == len(training.rows) <= 10


def test_a_share_of_the_labels_is_what_counts(tmp_path):
    cells = labels(80)
    cells[:, 0] = 0
    cells[0, 0] = 1  # one film has it
    made = store_of(tmp_path / "store", cells)
    films = Films.open((made,))
    rows = Subsets.of(films).rows("train", 0.2)
    expected = bool(films.labels[rows][:, 0].any())
    assert ("No Finding" in learnt(made, fraction=0.2).findings) == expected


def test_two_stores_of_one_kind_each_make_both(tmp_path):
    present, absent = labels(), labels()
    present[:, 2], absent[:, 2] = 1, 0
    one = store_of(tmp_path / "one", present, "one")
    other = store_of(tmp_path / "other", absent, "other")
    assert "Fracture" not in learnt(one).findings
    assert "Fracture" not in learnt(other).findings
    assert "Fracture" in learnt(one, other).findings


def test_a_probe_leaves_it_out_too(store):
    heard = Heard()
    asked = ProbeOptions(
        data=(store,),
        backbone="test_resnet",
        split="test",
        resamples=5,
        min_positives=1,
        device="cpu",
        labels=LabelOptions(unstated="ignore"),
    )
    result = probe("random", asked, heard)
    assert [finding.name for finding in result.linear.findings] == ["Edema"]
    assert PRESENT.format("No Finding") in heard.notes


def test_without_any_finding_of_both_kinds_nothing_is_trained(tmp_path):
    cells = labels()
    cells[:, 1] = 1
    with pytest.raises(DataError, match="no finding has training films with it and without it"):
        learnt(store_of(tmp_path / "store", cells), unstated="ignore")


def test_uncertain_as_a_class_of_its_own_is_neither_kind():
    targets = np.float32([[2, 1], [2, 2], [2, 0]])
    kinds = label_kinds(targets, np.ones_like(targets))
    assert kinds.learnt == [1]
    assert kinds.left_out(("Mass", "Edema")) == [
        "every training label that counts says uncertain for Mass: left out"
    ]


def test_kinds_are_those_of_the_training_rows(store):
    films = Films.open((store,))
    targets, weights = training_labels(films, LabelOptions())
    rows = np.flatnonzero(films.labels[:, 1] == 1)
    assert not label_kinds(targets, weights, rows).absent[1]
    assert label_kinds(targets, weights).absent[1]
