"""The online probe's slice: whole training patients, those it is fitted on apart from those it scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from heard import Heard
from hypothesis import given
from hypothesis import strategies as st

from hilum.bundle.initialization import new_backbone
from hilum.images.films import Films
from hilum.training.learner import Batch, Learner
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.train.online_probe import FEWEST, online_probe, patient_slice
from hilum.workflows.train.options import PretrainOptions
from hilum.workflows.train.pretrain import monitor_settings, pretraining_rows


class Bare(Learner):
    """A backbone and nothing else."""

    def make_crops(self, batch: Batch, seed: int):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    def forward(self, batch: Batch):  # type: ignore[no-untyped-def]
        raise NotImplementedError


@pytest.fixture(scope="module")
def films(make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Films:
    return Films.open([make_store(tmp_path_factory.mktemp("store") / "store", films=300)])


@given(st.lists(st.integers(0, 20), min_size=1, max_size=80), st.integers(1, 90), st.integers(0, 5))
def test_a_slice_is_of_whole_patients_in_two_parts_that_share_none(
    owners: list[int], count: int, seed: int
) -> None:
    patients, rows = np.array(owners), np.arange(len(owners)) * 3
    fitted, scored = patient_slice(rows, patients, count, seed)
    assert len(fitted) + len(scored) <= count
    taken = [set(patients[np.isin(rows, part)]) for part in (fitted, scored)]
    assert not taken[0] & taken[1]
    assert set(rows[np.isin(patients, list(taken[0] | taken[1]))]) == set(fitted) | set(scored)
    again = patient_slice(rows, patients, count, seed)
    assert all(
        np.array_equal(one, other) for one, other in zip((fitted, scored), again, strict=True)
    )


def test_two_thirds_of_the_patients_are_fitted_and_the_seed_chooses_them() -> None:
    rows = np.arange(300)
    fitted, scored = patient_slice(rows, rows // 2, 120, seed=0)
    assert (len(fitted), len(scored)) == (80, 40)
    assert not np.array_equal(fitted, patient_slice(rows, rows // 2, 120, seed=1)[0])


@pytest.mark.parametrize("with_validation", [False, True])
def test_neither_validation_nor_test_films_are_probed(films: Films, with_validation: bool) -> None:
    subsets = Subsets.of(films)
    rows = pretraining_rows(subsets, with_validation=with_validation)
    options = PretrainOptions(data=(), out=Path("x"), with_validation=with_validation)
    monitoring = monitor_settings(options, films, subsets, rows, 32, Heard())
    assert monitoring is not None
    assert monitoring.probe is not None
    probed = np.concatenate([monitoring.probe.fitted, monitoring.probe.scored])  # type: ignore[attr-defined]
    assert set(probed) == set(subsets.rows("train"))
    assert set(monitoring.rows) <= set(rows)


def test_a_probe_is_made_again_the_same_and_leaves_rare_findings_out(films: Films) -> None:
    rows = Subsets.of(films).rows("train")
    learner = Bare(new_backbone("test_resnet", 32, 0))
    heard = Heard()
    one, other = (online_probe(films, rows, 1024, 32, 0, heard) for _ in range(2))
    assert one is not None
    assert other is not None
    assert one(learner) == other(learner)
    labels = films.labels.copy()
    labels[np.flatnonzero(labels[:, 1] == 1)[FEWEST:], 1] = (
        0  # Mass: ten in all, so fewer in each part
    )
    films.__dict__["labels"] = labels
    try:
        rare = online_probe(films, rows, 1024, 32, 0, heard)
    finally:
        del films.__dict__["labels"]
    assert rare is not None
    assert rare.findings == ("Edema",)
    assert rare(learner)["findings"].keys() == {"Edema"}
    assert heard.notes == []


def test_too_few_labels_turn_it_off_with_a_note(films: Films) -> None:
    heard = Heard()
    assert online_probe(films, Subsets.of(films).rows("train")[:20], 1024, 32, 0, heard) is None
    assert heard.notes == [
        "no finding has 10 labelled training films with it and without it to fit a probe on, and as many to score: "
        "no online probe"
    ]
