"""What the command line's tests share: running a command in this process, and a small phantom store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from hilum.cli import main


class FormattedValue(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., FormattedValue]


@pytest.fixture
def hilum(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line and give its exit code and what it printed, at a page width of 80."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*words: object) -> FormattedValue:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return FormattedValue(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantoms") / "set"
    assert main(["phantom", str(root), "--count", "90", "--size", "32", "--workers", "1"]) == 0
    return root


@pytest.fixture(scope="session")
def store(phantoms: Path) -> Path:
    out = phantoms.parent / "store"
    assert (
        main(
            [
                "prepare",
                "chexpert",
                str(phantoms),
                "--out",
                str(out),
                "--size",
                "32",
                "--workers",
                "1",
            ]
        )
        == 0
    )
    return out
