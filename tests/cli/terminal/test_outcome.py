"""How a command ends: the exit code and the line, for what is nobody's mistake too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hilum.cli.terminal.outcome import conclude
from hilum.errors import DataError
from hilum.training.interrupt import Interrupted


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


ENDS = {
    "user's mistake": (DataError("no film"), 1, "hilum finetune: no film\n"),
    "interrupted": (
        KeyboardInterrupt(),
        130,
        "hilum finetune: interrupted; run the same line again to go on.\n",
    ),
    "interrupted and saved": (
        Interrupted("saved step 7"),
        130,
        "hilum finetune: saved step 7; run the same line again to go on.\n",
    ),
    "disk full": (
        OSError(28, "No space left on device", "/x"),
        1,
        "hilum finetune: No space left on device: /x: make room there, and run the same line again.\n",
    ),
    "file too large for its disk": (
        OSError(27, "File too large", "/x"),
        1,
        "hilum finetune: File too large: /x: make",
    ),
    "quota, no name": (
        OSError(122, "Disk quota exceeded"),
        1,
        "hilum finetune: Disk quota exceeded: make room where",
    ),
    "read-only": (
        OSError(30, "Read-only file system", "/x"),
        1,
        "hilum finetune: Read-only file system: /x.\n",
    ),
    "read-only, no name": (
        OSError(30, "Read-only file system"),
        1,
        "hilum finetune: Read-only file system.\n",
    ),
    "bad disk": (OSError(5, "Input/output error"), 1, "hilum finetune: Input/output error.\n"),
    "no memory": (MemoryError(), 1, "hilum finetune: out of memory: "),
    "no device memory": (
        OutOfMemoryError("CUDA"),
        1,
        "hilum finetune: out of device memory: lower --train.batch-size",
    ),
    "several lines": (DataError("a\nb\x1b[31m"), 1, "hilum finetune: a\\nb\\x1b[31m\n"),
}


@pytest.mark.parametrize("name", ENDS)
def test_ending(capsys, name):
    error, code, line = ENDS[name]
    assert conclude(error, ["finetune", "--out", "x"]) == code
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == 1


def failed() -> Exception:
    try:
        raise ZeroDivisionError("in the\nmiddle")
    except ZeroDivisionError as error:
        return error


def test_fault_is_one_line_with_the_traceback_in_a_file(capsys):
    assert conclude(failed(), ["finetune"]) == 70
    said = capsys.readouterr().err
    assert said.startswith(
        "hilum finetune: a fault of the program (ZeroDivisionError: in the middle). Please report it"
    )
    assert said.count("\n") == 1
    file = Path(said.rstrip(".\n").rpartition(" ")[2])
    assert "raise ZeroDivisionError" in file.read_text()
    file.unlink()


def test_fault_shows_its_traceback_when_asked(capsys):
    assert conclude(failed(), ["finetune", "--traceback"]) == 70
    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said
    assert said.splitlines()[-1].endswith("Please report it with the traceback above.")


def test_method_is_named_in_the_line(capsys):
    conclude(DataError("x"), ["pretrain", "moco", "--out", "y"])
    assert capsys.readouterr().err == "hilum pretrain moco: x\n"


def test_reader_that_leaves_is_met_quietly():
    command = f"{sys.executable} -m hilum phantom --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode in (0, 141)  # 0: the page was written before the reader left


def test_ctrl_c_ends_with_130_and_one_line(tmp_path):
    words = ["-m", "hilum", "phantom", str(tmp_path / "p"), "--count", "3000", "--workers", "1"]
    running = subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, text=True)
    try:
        while not list(tmp_path.glob("p/train/*/*/*.jpg")):
            assert running.poll() is None
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        err = running.communicate(timeout=60)[1]
    finally:
        running.kill()
    assert running.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "hilum phantom: interrupted; run the same line again to go on."


def test_closed_standard_output_is_no_fault():
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m hilum --help >&-"], capture_output=True, check=False
    )
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_standard_output_is_no_fault_of_the_program():
    command = f"{sys.executable} -m hilum --version > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "hilum: No space left on device: make room where the output goes.\n"


def test_environment_turns_the_traceback_on(capsys, monkeypatch):
    monkeypatch.setitem(os.environ, "HILUM_TRACEBACK", "1")
    conclude(failed(), ["finetune"])
    assert "Traceback" in capsys.readouterr().err
