"""A study that was stopped, and one in several processes, end as the one that was not: bit for bit."""

from __future__ import annotations

import fcntl
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from study_plans import STOPPED, TWO_RATES, stop_after, tiny_plan, weights

from hilum.workflows.study.record import StudyRecord, read_study
from hilum.workflows.study.study import study


@pytest.fixture(scope="module")
def whole(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    return study(
        tiny_plan(tiny_store, tmp_path_factory.mktemp("study") / "whole", **TWO_RATES)
    ).record


def wait_for_processes(folder: Path) -> None:
    """Wait until the workers of a killed study are gone, which end with their standard input."""
    for lock in folder.glob("runs/*/.lock"):
        with lock.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)


def stop_and_go_on(store: Path, folder: Path, jobs: int, number: int) -> StudyRecord:
    """Stop a study when three cells are done, check how it was left, and bring it to its end."""
    status = stop_after(store, folder, jobs, 3, number)
    assert status == (-number if number == signal.SIGKILL else STOPPED)
    left = read_study(folder)
    assert not left.finished
    if number != signal.SIGKILL:
        assert not [cell for cell in left.cells if cell.state == "running"]
    wait_for_processes(folder)
    return study(tiny_plan(store, folder, **TWO_RATES)).record


def told(record: StudyRecord) -> list[object]:
    return [replace(cell, seconds=None) for cell in record.cells]


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.torture)]
)
def test_a_stopped_study_goes_on_to_the_same_end(
    tiny_store: Path, tmp_path: Path, whole: StudyRecord, number: int
) -> None:
    record = stop_and_go_on(tiny_store, tmp_path / "study", 1, number)
    assert told(record) == told(whole)
    assert weights(record.folder) == weights(whole.folder)


@pytest.mark.torture
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_two_stopped_processes_go_on_to_the_same_end(
    tiny_store: Path, tmp_path: Path, whole: StudyRecord, number: int
) -> None:
    record = stop_and_go_on(tiny_store, tmp_path / "study", 2, number)
    assert told(record) == told(whole)
    assert weights(record.folder) == weights(whole.folder)


def test_two_processes_give_what_one_gives(
    tiny_store: Path, tmp_path: Path, whole: StudyRecord
) -> None:
    record = study(tiny_plan(tiny_store, tmp_path / "two", jobs=2, **TWO_RATES)).record
    assert told(record) == told(whole)
    assert weights(record.folder) == weights(whole.folder)
    assert (record.folder / "analysis.json").read_bytes() == (
        whole.folder / "analysis.json"
    ).read_bytes()
