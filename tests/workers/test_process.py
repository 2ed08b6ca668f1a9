"""A worker process runs as this one does, tells how it ended in one line, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hilum.workers.process import TIED, WorkerProcess, end_with_input

QUIET = {name: value for name, value in os.environ.items() if name != TIED}


def python(code: str, **options: object) -> WorkerProcess:
    return WorkerProcess(["-c", code], **options)  # type: ignore[arg-type]


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> bool:
    until = time.monotonic() + 30
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not is_running(pid)


def test_it_has_this_interpreter_and_search_path() -> None:
    code = "import sys; print(sys.executable); print(*sys.path, sep='\\n')"
    with python(code, reads_output=True) as process:
        executable, *search = process.output.read().decode().splitlines()
    assert executable == sys.executable
    expected = [entry or str(Path.cwd()) for entry in sys.path]
    assert [entry for entry in search if entry in expected] == list(dict.fromkeys(expected))


def test_an_environment_is_given_or_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM_TEST", "inherited")
    code = "import os; print(os.environ.get('HILUM_TEST'))"
    for environment, value in (
        (None, b"inherited"),
        ({"HILUM_TEST": "given"}, b"given"),
        ({}, b"None"),
    ):
        with python(code, environment=environment, reads_output=True) as process:
            assert process.output.read().strip() == value


def test_it_passes_descriptors_and_reads_its_input() -> None:
    reading, writing = os.pipe()
    code = f"import os, sys; os.write({writing}, sys.stdin.buffer.readline())"
    with python(code, pass_fds=[writing]) as process:
        process.input.write(b"a line\n")
        process.input.flush()
        assert process.wait(30) == 0
    os.close(writing)
    assert os.read(reading, 100) == b"a line\n"
    os.close(reading)


def test_its_output_is_discarded_unless_it_is_read() -> None:
    with python("print('x' * 10**6)") as process:
        assert process.wait(30) == 0
        with pytest.raises(ValueError, match="reads_output"):
            _ = process.output


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("", "ended with status 0 (no error message)"),
        ("raise SystemExit(3)", "ended with status 3 (no error message)"),
        ("print(1 / 0)", "ended with status 1 (ZeroDivisionError: division by zero)"),
        (
            "import sys; sys.stderr.write('a\\nthe reason\\n \\n\\n'); sys.exit(2)",
            "ended with status 2 (the reason)",
        ),
        ("import os; os.kill(os.getpid(), 9)", "ended by signal 9 (no error message)"),
        (
            "import sys; sys.stderr.buffer.write(b'\\xff' * 999); sys.exit(1)",
            "ended with status 1 (" + "\N{REPLACEMENT CHARACTER}" * 200 + ")",
        ),
    ],
)
def test_how_it_ended_is_one_line(code: str, message: str) -> None:
    with python(code) as process:
        assert process.exit_message() == message
        assert process.exit_message() == message
        assert not process.running


def test_its_errors_can_be_read_while_it_writes_them() -> None:
    code = """
import sys
print("first", file=sys.stderr, flush=True)
print(flush=True)
sys.stdin.read()
print("last", file=sys.stderr)
"""
    with python(code, reads_output=True) as process:
        process.output.readline()
        assert process.errors() == "first\n"
        process.input.close()
        process.wait(30)
        assert process.errors() == "first\nlast\n"
        assert process.errors(most=5) == "last\n"


def test_it_has_a_group_of_its_own() -> None:
    with python("input()") as process:
        assert os.getpgid(process.pid) == process.pid != os.getpgid(0)


def test_a_signal_reaches_it_and_none_reaches_a_dead_one() -> None:
    with python("input()") as process:
        assert process.running
        assert process.wait(0.0) is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM
        process.send_signal(signal.SIGTERM)
        process.kill()


PARENT_OF_ONE = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def test_its_own_children_are_killed_with_it() -> None:
    process = python(PARENT_OF_ONE, reads_output=True)
    child = int(process.output.readline())
    assert is_running(child)
    process.end()
    assert wait_until_gone(child)
    assert not Path(f"/proc/{process.pid}").exists()  # reaped


def test_ending_it_closes_everything_and_may_be_repeated() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    process = python("input()", reads_output=True)
    process.input.write(b"never read by a dead process")
    process.kill()
    process.end()
    process.end()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert process.wait() == -signal.SIGKILL


def test_one_that_cannot_start_leaves_nothing_open() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(OSError, match="Argument list too long"):
        python("#" * 2**20)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


STARTER = """
import sys, time
from hilum.workers.process import WorkerProcess
code = "import os, time; from hilum.workers.process import end_with_input; end_with_input(os.environ); "
worker = WorkerProcess(["-c", code + "print('ready', flush=True); time.sleep(600)"], reads_output=True)
worker.output.readline()
print(worker.pid, flush=True)
time.sleep(600)
"""


def test_it_ends_when_the_process_that_started_it_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTER], env=QUIET, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        worker = int(starter.stdout.readline())
        assert is_running(worker)
        starter.kill()
        assert wait_until_gone(worker)


def test_a_process_that_nobody_started_so_does_not_end_with_its_input() -> None:
    end_with_input({})  # this test's own input may be at its end
    code = """
import time
from hilum.workers.process import end_with_input
end_with_input({})
time.sleep(0.2)
print("done")
"""
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env=QUIET,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "done\n"
