"""A demo in miniature, finished once for all tests of the report."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hilum.workflows.demo import DemoOptions, DemoPlan, demo

PLAN = DemoPlan(
    films=100,
    drawn_size=32,
    size=32,
    backbone="test_resnet",
    pretrain_epochs=1,
    epochs=((0.1, 1), (1.0, 1)),
    min_positives=2,
    resamples=40,
    explained=2,
)


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "demo"
    demo(DemoOptions(out=out, seed=3), plan=PLAN)
    return out


@pytest.fixture
def own_demo(demo_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(demo_folder, tmp_path / "demo")
