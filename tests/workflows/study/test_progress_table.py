"""The table of a running study: counts, the time left, and a line for each run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from study_plans import tiny_plan

from hilum.listener import Listener
from hilum.workflows.data.targets import LabelKinds
from hilum.workflows.study.cells import cells_of
from hilum.workflows.study.progress_table import Board
from hilum.workflows.study.schedule import ended


class Seen(Listener):
    def __init__(self) -> None:
        self.devices: list[str] = []
        self.tables: list[Sequence[str]] = []
        self.notes: list[str] = []

    def note(self, line: str) -> None:
        self.notes.append(line)

    def device(self, name: str) -> None:
        self.devices.append(name)

    def table(self, lines: Sequence[str]) -> None:
        self.tables.append(lines)


@pytest.fixture
def now() -> list[float]:
    """The time, which a test moves on."""
    return [0.0]


def test_a_first_estimate_comes_from_the_runs_at_work(tmp_path: Path, now: list[float]) -> None:
    plan = tiny_plan(tmp_path / "store", tmp_path / "study")
    cells = cells_of(plan)
    first, second = (cell.run for cell in cells[:2])
    cells = ended(ended(cells, first, state="running"), second, state="running")
    seen = Seen()
    board = Board(plan, 2, seen, clock=lambda: now[0])
    board.show(cells)
    assert "left" not in seen.tables[-1][0]
    one, other = board.hearing(first), board.hearing(second)
    one.device("cpu, 1 thread")
    one.progress("pretrain", 300, 1000)  # a resumed run
    other.progress("finetune", 0, 10)
    assert "left" not in seen.tables[-1][0]
    now[0] = 12.0
    one.progress("pretrain", 310, 1000, "loss 2.0")
    assert seen.tables[-1][0].endswith("; about 14 min left of the stages that run now")
    now[0] = 18.0
    other.progress("finetune", 1, 10)
    assert seen.tables[-1][0].endswith("; about 14 min left of the stages that run now")
    assert any("pretrain 310 of 1,000  loss 2.0" in line for line in seen.tables[-1][1:])
    other.progress("validate", 0, 5)  # another stage: its pace is not known
    assert seen.tables[-1][0].endswith("; about 14 min left of the stages that run now")
    board.show(ended(cells, first, state="failed"))
    assert "left" not in seen.tables[-1][0]
    assert seen.devices == ["cpu, 1 thread"]


def test_findings_without_an_output_are_said_once_for_all_runs(tmp_path: Path) -> None:
    cells = cells_of(tiny_plan(tmp_path / "store", tmp_path / "study"))
    runs = list(dict.fromkeys(cell.run for cell in cells if cell.kind == "finetune"))[:2]
    seen = Seen()
    board = Board(tiny_plan(tmp_path / "store", tmp_path / "study"), 1, seen)
    board.show(cells)
    kinds = LabelKinds(*(np.array(row, bool) for row in ([1, 1, 0], [1, 1, 0], [0, 1, 0])))
    lines = kinds.left_out(["No Finding", "Edema", "Hernia"])
    for run in runs:
        for line in (*lines, "fine-tunes on 9 films"):
            board.hearing(run).note(line)
    name = Path(runs[0]).name
    assert seen.notes == [
        f"{name}: no training film has a label that counts for Hernia: left out",
        f"{name}: every training label that counts says present for No Finding: left out",
    ]
