"""``hilum check`` names what of a store, a run or a model is not as it was written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hilum.cli import main
from hilum.errors import DataError
from hilum.workflows.check.check import check


def flip(file: Path, byte: int) -> None:
    content = bytearray(file.read_bytes())
    content[byte] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "byte", "part"),
    [
        ("images-00000.npy", 20, "films"),
        ("images-00000.npy", 5000, "films"),
        ("catalog.parquet", 900, "manifest and table"),
        ("manifest.json", 300, "manifest and table"),
        ("split.json", 400, "split.json"),
    ],
)
def test_a_damaged_file_of_a_store_is_named(
    tiny_store: Path, tmp_path: Path, file: str, byte: int, part: str
) -> None:
    store = Path(shutil.copytree(tiny_store, tmp_path / "store"))
    assert check(store).damaged == ()
    flip(store / file, byte)
    assert [line.partition(":")[0] for line in check(store).damaged] == [part]


@pytest.mark.parametrize("file", ["model.safetensors", "model.json", "seen.parquet"])
def test_a_damaged_file_of_a_run_or_model_is_named(
    classifier: Path, tmp_path: Path, file: str
) -> None:
    run = Path(shutil.copytree(classifier, tmp_path / "run"))
    assert {"model", "metrics.json", "splits/tiny"} <= set(check(run).checked)
    assert check(run).damaged == check(run / "model").damaged == ()
    flip(run / "model" / file, 100)
    assert len(check(run).damaged) == len(check(run / "model").damaged) == 1


def test_the_command_exits_with_1_and_one_line(
    tiny_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Path(shutil.copytree(tiny_store, tmp_path / "store"))
    assert main(["check", str(store)]) == 0
    assert "as it was written" in capsys.readouterr().out
    flip(store / "images-00000.npy", 5000)
    assert main(["check", str(store)]) == 1
    assert "1 of 3 parts are not what was written" in capsys.readouterr().err


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no store, run or model"):
        check(tmp_path)
