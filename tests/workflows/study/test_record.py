"""A study on disk: read as written, narrowed, refused where damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hilum.errors import RunError
from hilum.workflows.study.record import (
    StudyCell,
    StudyRecord,
    StudyStore,
    is_study,
    read_study,
    write_study,
)


def cell(name: str, **more: object) -> StudyCell:
    usual = {
        "kind": "finetune",
        "model": "MoCo",
        "backbone": "test_resnet",
        "fraction": 0.1,
        "policy": "ignore",
    }
    return StudyCell(**{**usual, "id": name, "seed": 0, "lr": 1e-3, "run": f"runs/{name}", **more})


def record(folder: Path, *cells: StudyCell) -> StudyRecord:
    return StudyRecord(
        folder=folder, hilum="1", versions={"torch": "2"}, machine={"cores": 2}, reference="MoCo", finished=False,
        stores=(StudyStore(folder / "store", "tiny", "abc"),), plan={"seeds": 1}, cells=cells,
    )  # fmt: skip


def test_it_reads_what_was_written(tmp_path: Path) -> None:
    written = record(tmp_path, cell("a"), cell("b", state="failed", error="no such file"))
    write_study(written)
    assert is_study(tmp_path)
    assert read_study(tmp_path) == written
    assert json.loads((tmp_path / "study.json").read_text())["stores"][0]["path"] == "store"


def test_only_finished_cells_that_count_are_chosen(tmp_path: Path) -> None:
    cells = (
        cell("pre", kind="pretrain", method="moco", state="done", fraction=None, policy=None),
        cell("tried", state="done"),
        cell("best", state="done", chosen=True),
        cell("failed", state="failed", chosen=True),
        cell("ones", state="done", chosen=True, policy="ones", group="policies"),
        cell("other", state="done", chosen=True, model="scratch", fraction=1.0),
    )
    study = record(tmp_path, *cells)
    assert [each.id for each in study.chosen()] == ["best", "ones", "other"]
    assert [each.id for each in study.chosen(model="MoCo", group="main")] == ["best"]
    assert [each.id for each in study.chosen(fraction=1.0)] == ["other"]
    assert [each.id for each in study.chosen(policy="ones")] == ["ones"]
    assert study.models == ("MoCo", "scratch")
    assert study.pretraining("MoCo").id == "pre"
    assert study.pretraining("scratch") is None
    assert [each.id for each in study.failed] == ["failed"]


def test_a_record_of_before_splits_and_faults_were_kept_is_read(tmp_path: Path) -> None:
    write_study(record(tmp_path, cell("a")))
    content = json.loads((tmp_path / "study.json").read_text())
    del content["faults"], content["stores"][0]["split"], content["sha256"]
    (tmp_path / "study.json").write_text(json.dumps(content))
    read = read_study(tmp_path)
    assert (read.faults, read.stores[0].split) == ((), None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "holds no study"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 7}', "is of format 7"),
        ('{"format": 1}', "is damaged"),
    ],
)
def test_a_damaged_record_is_one_line(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "study.json").write_text(text, "utf-8")
    with pytest.raises(RunError, match=said):
        read_study(tmp_path)


def test_a_cell_of_no_known_state_is_damage(tmp_path: Path) -> None:
    write_study(record(tmp_path, cell("a", state="sleeping")))
    with pytest.raises(RunError, match="is damaged"):
        read_study(tmp_path)
