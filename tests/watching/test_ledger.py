"""The ledger: every result appears once, whatever moment a kill comes at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hilum.errors import RunError
from hilum.watching.ledger import ASIDE, LEDGER, RESULTS, open_ledger

DRIVER = """
import os, signal, sys
from pathlib import Path
from hilum.watching import ledger

folder, moment = Path(sys.argv[1]), int(sys.argv[2])
done = 0

def step(name):
    def call(*given, **more):
        global done
        if done == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1
        return before[name](*given, **more)
    return call

before = {"fsync": os.fsync, "rename": Path.rename, "sync": ledger.sync}
with ledger.open_ledger(folder) as films:
    os.fsync, Path.rename, ledger.sync = step("fsync"), step("rename"), step("sync")
    films.add("a" * 32, "read", {"sc.dcm": b"capture", "sr.dcm": b"report"})
print("done", done)
"""
"""Adds a film and kills itself before one of the calls that reach the disk."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / RESULTS).iterdir())


@pytest.mark.parametrize("moment", range(9))
def test_a_kill_before_any_step_leaves_both_results_or_none(tmp_path: Path, moment: int) -> None:
    folder = tmp_path / "out"
    command = [sys.executable, "-c", DRIVER, str(folder), str(moment)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    killed = done.returncode == -signal.SIGKILL
    assert killed or done.stdout == f"done {moment}\n", done.stderr
    taken = names(folder)
    for name in taken:  # a sender takes away what is there
        os.unlink(folder / RESULTS / name)  # noqa: PTH108 - the driver changed nothing here
    with open_ledger(folder) as ledger:
        again = names(folder)
        known = "a" * 32 in ledger
        if not known:
            ledger.add("a" * 32, "read", {"sc.dcm": b"capture", "sr.dcm": b"report"})
    appeared = taken + again + ([] if known else names(folder))
    assert sorted(appeared) == [f"{'a' * 32}-sc.dcm", f"{'a' * 32}-sr.dcm"]
    assert list((folder / ASIDE).iterdir()) == []


def test_an_incomplete_last_line_is_forgotten_and_a_damaged_one_refused(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "out") as ledger:
        ledger.add("f1", "refused: inverted")
    path = tmp_path / "out" / LEDGER
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"film": "f2", "outc')
    with open_ledger(tmp_path / "out") as ledger:
        assert ledger.films == {"f1": "refused: inverted"}
        ledger.add("f3", "read")
    assert path.read_bytes() == whole + b'{"film": "f3", "outcome": "read"}\n'
    for damage in (b"[]\n", b"\x00\n", b'{"film": "f4"}\n'):
        path.write_bytes(whole + damage)
        with pytest.raises(RunError, match="damaged in line 2"), open_ledger(tmp_path / "out"):
            pass


def test_one_process_watches_at_a_time_and_no_folder_of_others(tmp_path: Path) -> None:
    with (
        open_ledger(tmp_path / "out"),
        pytest.raises(RunError),
        open_ledger(tmp_path / "out"),
    ):
        pass
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "film.dcm").touch()
    with pytest.raises(RunError, match="something else"), open_ledger(tmp_path / "films"):
        pass
    assert [path.name for path in (tmp_path / "films").iterdir()] == ["film.dcm"]
