"""Processes that read headers and decode films: kept for other work where asked for, else ended."""

import os
import signal
from pathlib import Path

import pytest

from hilum.images.decoding.film_process import FilmProcess, film_process, give_back, processes_kept
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.workflows.prepare.prepare import PrepareOptions, prepare


def test_a_process_is_kept_for_other_work_until_the_block_ends() -> None:
    with processes_kept():
        first, second = film_process(), film_process()
        assert first is not second
        give_back(first)
        assert film_process() is first
        give_back(first)
        give_back(second)
        assert first.running
        assert second.running
    assert not first.running
    assert not second.running


def test_without_a_block_a_process_ends_with_its_work() -> None:
    process = film_process()
    give_back(process)
    assert not process.running


def test_a_kept_process_that_was_killed_is_not_used_again() -> None:
    with processes_kept():
        killed = film_process()
        give_back(killed)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        other = film_process()
        assert other is not killed
        assert other.running
        give_back(other)


def test_headers_and_films_are_read_by_the_same_processes_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HILUM_KEY_FILE", str(tmp_path / "hilum.key"))
    write_phantoms(tmp_path / "p", PhantomOptions(6, 64, 0, format="dicom"))
    stores, started = [], []
    start = FilmProcess.__init__

    def counted(process: FilmProcess) -> None:
        started.append(len(stores))
        start(process)

    monkeypatch.setattr(FilmProcess, "__init__", counted)

    def stored() -> dict[str, bytes]:
        store = tmp_path / f"store {len(stores)}"
        prepare(
            read_source("dicom", tmp_path / "p" / "dicom"), store, PrepareOptions(32, workers=1)
        )
        return {file.name: file.read_bytes() for file in store.iterdir() if file.is_file()}

    stores.append(stored())
    with processes_kept():
        stores.append(stored())
    assert started == [0, 0, 1]
    assert stores[0] == stores[1]
    assert len(stores[0]) > 3
