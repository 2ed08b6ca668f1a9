"""Training in two processes, as users start it: it ends well, stops together, and goes on to the bit."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hilum.errors import DataError, OptionError, RunError
from hilum.listener import Listener
from hilum.methods import METHODS
from hilum.methods.moco import MoCoOptions
from hilum.training.options import TrainOptions
from hilum.training.run_folder import read_log
from hilum.workflows.train.options import FinetuneOptions, PretrainOptions
from hilum.workflows.train.pretrain import pretrain

LOOP = [
    "--train.batch-size",
    "8",
    "--train.log-every",
    "1",
    "--train.checkpoint-every",
    "2",
    "--train.accelerator",
    "cpu",
    "--json",
]
LONG = ["--train.epochs", "16"]  # 48 steps
PROGRAM = [sys.executable, "-m", "hilum"]
TORCHRUN = [
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc-per-node",
    "2",
    "-m",
    "hilum",
]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def words(what: str, store: Path, out: Path, more: list[str]) -> list[str]:
    """What the run is, but for the number of its processes."""
    return [
        *what.split(),
        "--data",
        str(store),
        "--out",
        str(out),
        "--backbone",
        "test_resnet",
        *LOOP,
        *more,
    ]


def start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    answer, errors = process.communicate(timeout=300)
    return process.returncode, answer, errors


@pytest.fixture(scope="module")
def ended(
    tiny_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, int, str, str]]:
    """Runs in two processes, all at once: every method, a classifier, one that diverges, and one under torchrun.

    They take minutes, so test processes beside this one share them.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "two"
    folder.mkdir(exist_ok=True)
    kept = folder / "ended.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.is_file():
            kept.write_text(json.dumps(run_in_two_processes(tiny_store, folder)))
    return {name: (folder / name, *answer) for name, answer in json.loads(kept.read_text()).items()}


def run_in_two_processes(tiny_store: Path, folder: Path) -> dict[str, tuple[int, str, str]]:
    two = ["--devices", "2"]
    plans = {
        **{name: (PROGRAM, f"pretrain {name}", two) for name in METHODS},
        "moco": (PROGRAM, "pretrain moco", [*LONG, *two]),
        "torchrun": (TORCHRUN, "pretrain moco", LONG),
        "finetune": (PROGRAM, "finetune", ["--train.epochs", "3", *two]),
        "weighted": (
            PROGRAM,
            "finetune --sampler weighted --labels.uncertain multiclass --loss.name focal",
            two,
        ),
        "diverges": (PROGRAM, "pretrain moco", ["--train.lr", "1e30", "--train.clip", "0", *two]),
    }
    short = ["--train.epochs", "2"]
    begun = {
        name: start(
            [
                *program,
                *words(
                    what,
                    tiny_store,
                    folder / name,
                    more if "--train.epochs" in more else more + short,
                ),
            ]
        )
        for name, (program, what, more) in plans.items()
    }
    return {name: finish(process) for name, process in begun.items()}


def weights(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", [*METHODS, "torchrun", "finetune", "weighted"])
def test_two_processes_end_well(name: str, ended: dict[str, tuple[Path, int, str, str]]) -> None:
    run, code, answer, errors = ended[name]
    assert code == 0, errors
    (line,) = answer.splitlines()  # one of the two answers
    assert json.loads(line)["run"] == str(run)
    assert weights(run)
    assert errors.count("a step takes 16 films: 8 films x 2 processes") == 1
    assert "Traceback" not in errors
    if name != "torchrun":  # which has a word of its own to say
        assert "arning" not in errors
    steps = [event["step"] for event in read_log(run) if "loss" in event]
    assert steps == list(range(1, json.loads(line)["steps"] + 1))
    assert (run / "options.yaml").read_text().count("  processes: 2\n") == 1


def test_what_the_sampler_does_is_written_down_once(
    ended: dict[str, tuple[Path, int, str, str]],
) -> None:
    lines = (ended["weighted"][0] / "log.jsonl").read_text().splitlines()
    (told,) = [event for event in map(json.loads, lines) if event.get("event") == "sampler"]
    assert told["findings"] == ["Edema", "Mass"]
    assert len(told["before"]) == len(told["after"]) == 2


def test_it_does_not_matter_who_starts_them(ended: dict[str, tuple[Path, int, str, str]]) -> None:
    assert weights(ended["moco"][0]) == weights(ended["torchrun"][0])


def test_validation_is_of_all_processes(ended: dict[str, tuple[Path, int, str, str]]) -> None:
    run = ended["finetune"][0]
    told = json.loads((run / "metrics.json").read_text())["training"]
    scores = [event["score"] for event in read_log(run) if event.get("event") == "validation"]
    assert len(scores) == 3
    assert told["best"] == pytest.approx(max(scores), abs=1e-5)


def test_a_loss_that_is_not_finite_stops_both_with_one_line(
    ended: dict[str, tuple[Path, int, str, str]],
) -> None:
    run, code, _, errors = ended["diverges"]
    assert code == 1
    assert errors.splitlines()[-1].startswith("hilum pretrain moco: the loss is nan at step")
    assert errors.count("hilum pretrain moco:") == 1
    assert not (run / "model").exists()


def test_another_number_of_processes_is_refused(
    ended: dict[str, tuple[Path, int, str, str]], tiny_store: Path
) -> None:
    code, _, errors = finish(
        start([*PROGRAM, *words("pretrain moco", tiny_store, ended["moco"][0], LONG)])
    )
    assert code == 1
    assert "record.processes: 2 there, 1 now" in errors
    assert len(errors.splitlines()) == 1


def other_rank(process: subprocess.Popen[str]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (child,) = [
        int(child)
        for child in children
        if b"-m\0hilum" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    return child


def alive(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(what: Callable[[], bool], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.002)


def newest_step(run: Path) -> int:
    log = run / "log.jsonl"
    lines = log.read_bytes().split(b"\n")[:-1] if log.is_file() else []
    return max((event["step"] for event in map(json.loads, lines) if "loss" in event), default=0)


def break_off(
    command: list[str], run: Path, step: int, number: int, at_first: bool
) -> tuple[int, str]:
    """Run until the step, send a signal to the first or the other process; return exit code and what was said."""
    process = start(command)
    wait_for(lambda: newest_step(run) >= step or process.poll() is not None)
    other = other_rank(process)
    os.kill(process.pid if at_first else other, number)
    code, _, errors = finish(process)
    wait_for(lambda: not alive(other), seconds=20)
    return code, errors


def test_signals_at_any_process_end_both_and_the_run_goes_on_to_the_bit(
    ended: dict[str, tuple[Path, int, str, str]], tiny_store: Path, tmp_path: Path
) -> None:
    run = tmp_path / "broken"
    command = [*PROGRAM, *words("pretrain moco", tiny_store, run, LONG), "--devices", "2"]
    code, errors = break_off(command, run, 4, signal.SIGTERM, at_first=False)
    assert code == 130
    assert "all is saved" in errors.splitlines()[-1]
    code, _ = break_off(command, run, 13, signal.SIGKILL, at_first=True)
    assert code == -signal.SIGKILL
    code, errors = break_off(command, run, 22, signal.SIGKILL, at_first=False)
    assert code == 1
    assert "process 1 of 2 ended by signal 9" in errors.splitlines()[-1]
    assert errors.count("hilum pretrain moco:") == 1
    code, _, errors = finish(start(command))
    assert code == 0, errors
    assert weights(run) == weights(ended["moco"][0])
    losses = [
        {e["step"]: e["loss"] for e in read_log(place) if "loss" in e}
        for place in (run, ended["moco"][0])
    ]
    assert losses[0] == losses[1]


def refused(store: Path, out: Path, devices: int, **train: int) -> None:
    options = TrainOptions(epochs=1, batch_size=8, accelerator="cpu", **train)  # type: ignore[arg-type]
    given = PretrainOptions(
        data=(store,), out=out, backbone="test_resnet", devices=devices, train=options
    )
    pretrain("moco", MoCoOptions(), given, Listener())


def test_mistakes_are_one_line_before_a_process_starts(tiny_store: Path, tmp_path: Path) -> None:
    for options in (PretrainOptions, FinetuneOptions):
        with pytest.raises(OptionError, match="--devices is 0: allowed is 1 or more"):
            options(data=(tiny_store,), out=tmp_path, devices=0)
    with pytest.raises(
        DataError, match=r"too few for a step of 30 x 2 films: .* --train.accumulate or --devices"
    ):
        refused(tiny_store, tmp_path / "run", devices=30)
    assert not (tmp_path / "run").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    with pytest.raises(RunError, match="is no run"):
        refused(tiny_store, tmp_path / "other", devices=2)
