"""The processes of a study: a death costs the run that a process was at, and no other."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from study_plans import SCRATCH, tiny_plan

from hilum.listener import Listener
from hilum.workflows.study.cells import cells_of, finetune_options
from hilum.workflows.study.pool import Workers
from hilum.workflows.study.task import Task


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    workers = Workers(1, lambda _run: Listener())
    yield workers
    workers.close()


def refused(tmp_path: Path, name: str) -> Task:
    """Return a task that ends soon: its store is not there."""
    plan = tiny_plan(tmp_path / "no store", tmp_path / "study", models=SCRATCH, pretrain={})
    (cell,) = cells_of(plan)
    return Task(name, finetune_options(plan, cell, tmp_path / "study", None))


def test_an_idle_process_that_died_costs_no_run(workers: Workers, tmp_path: Path) -> None:
    workers.start(refused(tmp_path, "runs/one"))
    assert "no store" in str(workers.wait().error)
    workers._workers[0].process.kill()
    workers._workers[0].process.wait()
    workers.start(refused(tmp_path, "runs/two"))
    end = workers.wait()
    assert end.run == "runs/two"
    assert "no store" in str(end.error)


@pytest.mark.parametrize(("number", "memory"), [(signal.SIGKILL, True), (signal.SIGSEGV, False)])
def test_a_lack_of_memory_is_named_where_the_system_killed(
    workers: Workers, tmp_path: Path, number: int, memory: bool
) -> None:
    workers.start(refused(tmp_path, "runs/one"))
    workers._workers[0].process.send_signal(number)
    error = str(workers.wait().error)
    assert f"ended by signal {int(number)}" in error
    assert ("lack of memory" in error) == memory
