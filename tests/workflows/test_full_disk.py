"""A full disk, at whatever byte: one line, exit code 1, nothing half-written; with room the same command goes on.

The kernel refuses the write: the size of files is limited to less than what the command writes.
"""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.cli.app import main
from hilum.training.run_folder import read_metrics

PASSING = {"log.jsonl", "metrics.json", "options.yaml", ".lock"}
"""Files with times and speeds in them, or hashes of these."""


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file become larger than so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def content(path: Path) -> dict[str, bytes]:
    """The bytes of a file, or of a folder's files but those that pass."""
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in files
        if file.is_file() and file.name not in PASSING
    }


def half_written(folder: Path) -> list[str]:
    return [str(file) for file in folder.rglob(".*") if file.name.endswith((".part", ".old"))]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 noise films of 40 x 40 px."""
    folder, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    for number in range(24):
        film = rng.integers(0, 256, (40, 40), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number:02d}.png"), film)
    return folder


TRAINED = "--backbone test_resnet --train.epochs 2 --train.batch-size 16 --train.accelerator cpu"
COMMANDS = {
    "prepare": ("prepare folder {films} --size 64 --workers 1 --dataset noise", 4),
    "pretrain": (f"pretrain simclr --data {{store}} {TRAINED}", 2),
    "finetune": (f"finetune --data {{store}} {TRAINED} --train.min-steps 0", 3),
    "predict": ("predict {run} {store} --device cpu", 2),
    "explain": ("explain {run} {films}/00.png --device cpu", 2),
    "embed": ("embed {run} --data {store} --device cpu", 2),
    "card": ("card {store} --min-positives 2 --resamples 2", 1),
}
"""The words of a command, and how often it meets a full disk, each time a little later."""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_one_line_and_no_half_file(
    name: str,
    classifier: Path,
    tiny_store: Path,
    films: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line, tries = COMMANDS[name]
    words = line.format(films=films, store=tiny_store, run=classifier).split()
    assert main([*words, "--out", str(tmp_path / "whole" / "out")]) == 0
    whole = content(tmp_path / "whole" / "out")
    largest = max(map(len, whole.values()))
    out = tmp_path / "full" / "out"
    capsys.readouterr()
    codes = []
    for size in sorted({int(largest * share) for share in np.linspace(0.02, 0.98, tries)}):
        with room_for(size):
            codes.append(main([*words, "--out", str(out)]))
        told = capsys.readouterr().err
        last = told.splitlines()[-1] if told else ""
        assert codes[-1] in (0, 1), told
        if codes[-1]:
            assert last.startswith(f"hilum {name}"), told
            assert "File too large" in last, told
            assert "Traceback" not in told
        assert half_written(tmp_path) == []
    assert 1 in codes
    assert main([*words, "--out", str(out)]) == 0
    assert content(out) == whole


def test_an_evaluation_on_a_full_disk_loses_nothing(
    classifier: Path, tiny_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(classifier, run)
    words = ["evaluate", str(run), "--data", str(tiny_store), "--resamples", "2", "--device", "cpu"]
    assert main(words) == 0
    before = read_metrics(run)
    predictions = (run / "predictions-test.parquet").read_bytes()
    for size in (100, 2000):  # neither the results nor, made anew, the predictions
        for split in ("test", "val"):
            with room_for(size):
                assert main([*words, "--split", split]) == 1
            said = capsys.readouterr().err.splitlines()[-1]
            assert said.startswith("hilum evaluate: ")
            assert "cannot be written (File too large)" in said
    assert read_metrics(run) == before
    assert (run / "predictions-test.parquet").read_bytes() == predictions
    assert half_written(tmp_path) == []
    page = run / "report.html"
    with room_for(1000):
        assert main(["report", str(run)]) == 1
    assert "File too large" in capsys.readouterr().err.splitlines()[-1]
    assert not page.exists()
    assert main([*words, "--split", "val"]) == 0
    assert set(read_metrics(run)["evaluations"]) == {"test", "val"}
