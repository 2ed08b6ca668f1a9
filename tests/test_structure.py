"""tools/structure.py: the package passes, and a made package shows each fault that it looks for."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONTRACT = """
[[tool.importlinter.contracts]]
name = "stages"
type = "layers"
layers = ["hut.workflows.study", "hut.workflows.train | hut.workflows.card"]
"""


@pytest.fixture(scope="module")
def structure() -> ModuleType:
    """The script as a module; it is no part of the package."""
    spec = importlib.util.spec_from_file_location("structure", ROOT / "tools" / "structure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["structure"] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    del sys.modules["structure"]
    return module


@pytest.fixture
def hut(tmp_path: Path) -> Path:
    """A small package without a fault: a study above two stages that do not know each other."""
    (tmp_path / "pyproject.toml").write_text(CONTRACT)
    for folder in ["", "workflows/", "workflows/study/", "workflows/train/", "workflows/card/"]:
        write(tmp_path, f"{folder}__init__.py", "")
    write(tmp_path, "workflows/study/study.py", "from hut.workflows.train import train\n")
    write(tmp_path, "workflows/train/train.py", "def _step():\n    pass\n\n\n_step()\n")
    write(tmp_path, "workflows/card/card.py", "import os\n")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    path = root / "src" / "hut" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_package_has_no_fault(structure: ModuleType) -> None:
    assert structure.main(ROOT) == 0


def test_a_package_without_fault_passes(
    structure: ModuleType, hut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert structure.main(hut) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "8 modules, 1 imports between them" in shown.out
    assert "1 private functions used once in workflows and pages" in shown.out


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        (
            "workflows/train/train.py",
            "def late():\n    from hut.workflows.train import other\n",
            "circle of imports: hut.workflows.train.other, hut.workflows.train.train",
        ),
        (
            "workflows/train/train.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .other import x\n",
            "circle of imports: hut.workflows.train.other, hut.workflows.train.train",
        ),
        (
            "workflows/card/card.py",
            "import hut.workflows.study.study\n",
            "import runs up between layers: "
            "hut.workflows.card.card imports hut.workflows.study.study",
        ),
        (
            "workflows/card/card.py",
            "from ..train.train import _step\n",
            "import runs up between layers: "
            "hut.workflows.card.card imports hut.workflows.train.train",
        ),
        ("workflows/attic/__init__.py", "", "no layer in pyproject.toml: hut.workflows.attic"),
        ("workflows/attic.py", "", "no layer in pyproject.toml: hut.workflows.attic"),
        (
            "workflows/card/card.py",
            f"x = '{'a' * 100}'\n",
            "1 of 8 lines (12.50%) over 100 columns, below 3% allowed",
        ),
        (
            "workflows/train/train.py",
            "def long():\n" + "    x = 1\n" * 12,
            "median function 13 lines, at most 12 allowed",
        ),
        (
            "workflows/train/train.py",
            "def a():\n    pass\n\n\ndef b():\n    pass\n\n\ndef long():\n" + "    x = 1\n" * 60,
            "src/hut/workflows/train/train.py: long has 61 lines, at most 60 allowed",
        ),
        (
            "workflows/train/train.py",
            "x = 1\n" * 401,
            "src/hut/workflows/train/train.py: 401 lines, at most 400 allowed",
        ),
    ],
)
def test_each_fault_is_a_line(
    structure: ModuleType,
    hut: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    text: str,
    fault: str,
) -> None:
    write(hut, "workflows/train/other.py", "import hut.workflows.train.train\n")
    write(hut, name, text)
    assert structure.main(hut) == 1
    assert capsys.readouterr().err == f"structure: {fault}\n"


def test_a_folder_of_too_many_modules(
    structure: ModuleType, hut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(24):
        write(hut, f"workflows/card/card{number}.py", "")
    assert structure.main(hut) == 1
    assert "src/hut/workflows/card: 26 modules, at most 25 allowed" in capsys.readouterr().err


def test_too_many_functions_used_once(
    structure: ModuleType,
    hut: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(structure, "USED_ONCE", 0)
    monkeypatch.setattr(structure, "USED_ONCE_IS_A_FAULT", True)
    assert structure.main(hut) == 1
    assert "1 private functions used once in workflows and pages" in capsys.readouterr().err
