"""The page of a run that has not reached its end: what there is, and at the top that it is not finished."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hilum.cli import main
from hilum.errors import RunError
from hilum.listener import Listener
from hilum.methods.moco import MoCoOptions
from hilum.pages.pages import run_page, write_report
from hilum.pages.read import read_run
from hilum.pages.run.status import status
from hilum.training.interrupt import Interrupted
from hilum.training.monitor_options import MonitorOptions
from hilum.training.options import TrainOptions
from hilum.workflows.train.options import PretrainOptions
from hilum.workflows.train.pretrain import pretrain

Parsed = Callable[[str], Any]
Plain = Callable[[str], str]


class Stop(Listener):
    """Asks for a stop after a step, as Ctrl-C does."""

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        if stage.startswith("pretrain") and done == 7:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def stopped(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted at step 7 of 18."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    train = TrainOptions(epochs=3, batch_size=8, accelerator="cpu", log_every=1)
    monitor = MonitorOptions(films=32, probe_films=0)
    with pytest.raises(Interrupted):
        pretrain("moco", MoCoOptions(), PretrainOptions(
            data=(tiny_store,), out=out, backbone="test_resnet", train=train, monitor=monitor,
        ), Stop())  # fmt: skip
    return out


@pytest.fixture
def run(stopped: Path, tmp_path: Path, forget_hashes: Callable[[Path], None]) -> Path:
    """A copy that a test may spoil."""
    copied = shutil.copytree(stopped, tmp_path / "run")
    forget_hashes(copied)
    return copied


def test_the_command_that_continues_it_can_be_pasted_whatever_the_folder_is_called(
    run: Path,
) -> None:
    spaced = run.rename(run.with_name("my run"))
    found = status(read_run(spaced))
    assert found is not None
    assert shlex.split(found.command or "")[-1] == "my run"


def log(run: Path, *events: dict[str, Any]) -> None:
    with (run / "log.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


def without(run: Path, kind: str) -> None:
    """Take the events of a kind out of the log."""
    lines = (run / "log.jsonl").read_text("utf-8").splitlines(keepends=True)
    (run / "log.jsonl").write_text(
        "".join(line for line in lines if f'"{kind}"' not in line), "utf-8"
    )


def lead(page: str) -> str:
    return page.partition("Training curves")[0]


def test_an_interrupted_run_says_so_at_the_top_and_shows_what_there_is(
    run: Path, parsed: Parsed, plain: Plain
) -> None:
    page = run_page(run)
    top = lead(plain(page))
    assert "This run is not finished: last step 7 of 18 (39%)" in top
    assert "It was interrupted; all is saved." in top
    assert "hilum pretrain moco --config run/options.yaml --out run" in top
    assert str(run.parent) not in page
    assert {"training", "monitor", "crops", "options", "repeat"} <= set(parsed(page).ids)
    assert "<h3>Loss</h3>" in page
    assert "Not measured yet There is nothing to measure before the end" in plain(page)
    assert ">weights<" not in page
    assert parsed(page).open == []


def test_the_command_on_the_page_continues_the_run_which_then_is_finished(
    run: Path, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.parent)
    found = status(read_run(run))
    assert found is not None
    assert main(shlex.split(found.command or "")[1:]) == 0
    text = plain(run_page(run))
    assert "not finished" not in text
    assert "in 18 steps" in text
    assert "The run was interrupted and continued at step 7." in text


def test_a_run_that_goes_on_or_was_killed_is_at_the_last_step_of_its_log(
    run: Path, plain: Plain
) -> None:
    without(run, "interrupted")
    assert "It is still running, or it was broken off." in plain(run_page(run))
    with (run / "log.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')  # half a line, while it is being written
    assert "last step 7 of 18" in plain(run_page(run))
    (run / "log.jsonl").write_text((run / "log.jsonl").read_text("utf-8") + 'ss": 2.0}\n', "utf-8")
    log(run, {"event": "resumed", "step": 6})
    assert "last step 6 of 18" in plain(run_page(run))  # what came after it was lost
    log(run, *({"step": step, "loss": 2.0} for step in range(7, 10)))
    assert "last step 9 of 18" in plain(run_page(run))


def test_a_run_ended_by_a_collapse_says_so_and_offers_no_going_on(run: Path, plain: Plain) -> None:
    options = run / "options.yaml"
    options.write_text(
        options.read_text("utf-8").replace("stop_on_collapse: false", "stop_on_collapse: true"),
        "utf-8",
    )
    log(
        run,
        {
            "event": "warning",
            "step": 7,
            "kind": "collapse",
            "line": "step 7: the network is collapsing.",
        },
    )
    top = lead(plain(run_page(run)))
    assert "It was ended by --stop-on-collapse" in top
    assert "step 7: the network is collapsing." in top
    assert "goes on" not in top


def test_a_fine_tuned_run_may_end_early_and_one_of_an_older_version_has_no_end(
    demo_folder: Path, tmp_path: Path, plain: Plain, forget_hashes: Callable[[Path], None]
) -> None:
    run = shutil.copytree(demo_folder / "runs" / "moco-100-ignore-seed-0", tmp_path / "run")
    forget_hashes(run)
    (run / "metrics.json").unlink()
    shutil.rmtree(run / "model")
    read = read_run(run)
    assert read.total == read.step
    options = run / "options.yaml"
    options.write_text(options.read_text("utf-8").replace("patience: 0", "patience: 2"), "utf-8")
    assert f"last step {read.step} of at most {read.step} (100%)" in plain(run_page(run))
    without(run, "begun")
    assert f"last step {read.step} " in plain(run_page(run))
    assert "at most" not in plain(run_page(run))


def test_an_evaluation_alone_does_not_finish_a_run(run: Path, plain: Plain) -> None:
    (run / "metrics.json").write_text('{"evaluations": {}}', "utf-8")
    assert "not finished" in plain(run_page(run))


def test_the_command_writes_the_page(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(run / "report.html")
    assert "not finished" in (run / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda run: (run / "options.yaml").unlink(), "holds no study, run or data card"),
        (lambda run: (run / "log.jsonl").unlink(), "has not begun to train"),
        (
            lambda run: (run / "options.yaml").write_text("a word", "utf-8"),
            "options.yaml is damaged",
        ),
        (lambda run: (run / "metrics.json").write_text("[]", "utf-8"), "is damaged"),
        (
            lambda run: (run / "metrics.json").write_text('{"training": {"steps": 3}}', "utf-8"),
            "model.json cannot be read",
        ),
    ],
)
def test_what_is_no_run_or_damaged_is_one_line(
    run: Path, spoil: Callable[[Path], object], line: str
) -> None:
    spoil(run)
    with pytest.raises(RunError, match=line) as caught:
        write_report(run)
    assert "\n" not in str(caught.value)
    assert not (run / "report.html").exists()
