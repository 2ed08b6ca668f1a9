"""The run folder: one process at a time, one set of options, a log that survives a kill."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from hilum.errors import OptionError, RunError
from hilum.training.options_file import OPTIONS
from hilum.training.run_folder import (
    LOG,
    RunFolder,
    changed_metrics,
    open_run,
    read_log,
    read_metrics,
)

ASKED = {"pretrain": {"moco": {"train": {"lr": 0.1, "epochs": 2}, "data": ["a"]}}}


def test_two_at_once_are_refused_and_one_after_the_other_not(tmp_path: Path) -> None:
    with (
        open_run(tmp_path / "run", ASKED),
        pytest.raises(RunError, match="in use by another process"),
        open_run(tmp_path / "run", ASKED),
    ):
        pass
    with open_run(tmp_path / "run", ASKED) as run:
        assert not run.done


def test_an_evaluation_between_model_and_end_does_not_make_a_run_done(tmp_path: Path) -> None:
    with open_run(tmp_path, ASKED) as run:
        (tmp_path / "metrics.json").write_text('{"evaluations": {}}')
        assert not run.done
        run.finish({"training": {}})
        assert run.done


def test_results_that_were_changed_are_refused_and_those_without_a_hash_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "metrics.json"
    with open_run(tmp_path, ASKED) as run:
        run.finish({"training": {"best": 0.5, "steps": {2: 1.0, 10: 2.0}}})
        assert run.metrics() == {"training": {"best": 0.5, "steps": {"2": 1.0, "10": 2.0}}}
        whole = path.read_text()
        for old, new in (("0.5", "0.7"), ('"best"', '"bess"'), ('"sha256"', '"sha25&"')):
            path.write_text(whole.replace(old, new))
            with pytest.raises(RunError, match=r"metrics\.json is damaged"):
                run.metrics()
        path.write_text('{"training": {"best": 0.5}}')  # of an earlier version
        assert run.metrics() == {"training": {"best": 0.5}}
    with changed_metrics(tmp_path) as metrics:
        metrics["evaluations"] = {}
    assert "sha256" in path.read_text()
    assert read_metrics(tmp_path) == {"training": {"best": 0.5}, "evaluations": {}}


def test_damaged_records_are_one_line(tmp_path: Path) -> None:
    with open_run(tmp_path, ASKED) as run:
        (tmp_path / "metrics.json").write_text("{")
        with pytest.raises(RunError, match=r"metrics\.json is damaged"):
            _ = run.done
    (tmp_path / OPTIONS).write_text("a: [")
    with pytest.raises(RunError, match=r"options\.yaml is damaged"), open_run(tmp_path, ASKED):
        pass


def test_other_options_are_refused_with_the_difference(tmp_path: Path) -> None:
    with open_run(tmp_path, ASKED) as run:
        run.log(event="chance", step=0, value=1.0)
    other = {"pretrain": {"moco": {"train": {"lr": 0.2, "epochs": 2, "clip": 1}, "data": ["a"]}}}
    with pytest.raises(RunError) as caught, open_run(tmp_path, other):
        pass
    line = str(caught.value)
    assert "pretrain.moco.train.lr: 0.1 there, 0.2 now" in line
    assert "clip: None there, 1 now" in line
    assert "epochs" not in line
    assert "\n" not in line


def test_options_of_version_0_1_0_are_compared_by_their_names_of_today(tmp_path: Path) -> None:
    old = {"pretrain": {"moco": {"watch": {"every": 2}, "seed": 0}}, "record": {"hilum": "0.1.0"}}
    new = {"pretrain": {"moco": {"monitor": {"every": 2}, "seed": 0}}, "record": {"hilum": "0.1.0"}}
    (tmp_path / OPTIONS).write_text(yaml.safe_dump(old, sort_keys=False))
    with open_run(tmp_path, new) as run:
        run.log(event="begun", step=0)
    assert yaml.safe_load((tmp_path / OPTIONS).read_text()) == new
    other = {**new, "pretrain": {"moco": {"monitor": {"every": 3}, "seed": 0}}}
    (tmp_path / OPTIONS).write_text(yaml.safe_dump(old, sort_keys=False))
    with (
        pytest.raises(RunError, match=r"\(pretrain.moco.monitor.every: 2 there, 3 now\)"),
        open_run(tmp_path, other),
    ):
        pass
    assert yaml.safe_load((tmp_path / OPTIONS).read_text()) == old


def test_many_differences_are_counted(tmp_path: Path) -> None:
    with open_run(tmp_path, {str(number): 0 for number in range(8)}) as run:
        run.log(event="chance", step=0, value=1.0)
    with (
        pytest.raises(RunError, match="and 5 more"),
        open_run(tmp_path, {str(number): 1 for number in range(8)}),
    ):
        pass


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match=r"'thesis.txt' and is no run"), open_run(tmp_path, ASKED):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_file_as_out_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunError, match="cannot be a run folder"), open_run(out, ASKED):
            pass


def test_a_kill_while_the_options_were_written_leaves_a_new_run(tmp_path: Path) -> None:
    (tmp_path / ".options.yaml.77.part").write_text("pre")
    with open_run(tmp_path, ASKED):
        assert (tmp_path / OPTIONS).is_file()
    assert not list(tmp_path.glob("*.part"))


def test_a_half_line_is_cut_off_and_the_log_goes_on(tmp_path: Path) -> None:
    with open_run(tmp_path, ASKED) as run:
        run.log(step=1, loss=2.0)
        run.log(step=2, loss=1.5)
    with (tmp_path / LOG).open("a") as file:
        file.write('{"step": 3, "lo')
    with open_run(tmp_path, ASKED) as run:
        run.log(step=3, loss=1.0)
        assert [event["loss"] for event in run.events()] == [2.0, 1.5, 1.0]
    assert len((tmp_path / LOG).read_text().splitlines()) == 3


def test_a_log_of_half_a_line_alone_becomes_empty(tmp_path: Path) -> None:
    with open_run(tmp_path, ASKED):
        (tmp_path / LOG).write_text('{"st')
    with open_run(tmp_path, ASKED) as run:
        assert run.events() == []


@pytest.mark.parametrize("damaged", [b'{"step": 2, "lo', b"\xff\xfe", b"[]", b"7", b"{}", b""])
def test_a_damaged_line_in_the_middle_is_named_in_one_line(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / LOG).write_bytes(
        b'{"step": 1, "loss": 2.0}\n' + damaged + b'\n{"step": 3, "loss": 1.0}\n'
    )
    with pytest.raises(RunError, match=r"log\.jsonl is damaged in line 2: ") as caught:
        read_log(tmp_path)
    assert "\n" not in str(caught.value)


def test_steps_logged_twice_count_once_the_later(tmp_path: Path) -> None:
    with open_run(tmp_path, ASKED) as run:
        for step, loss in ((1, 3.0), (2, 2.0), (3, 9.0)):
            run.log(step=step, loss=loss)
        run.log(event="validation", step=2, score=0.5)
        run.log(event="resumed", step=1)
        for step, loss in ((2, 2.0), (3, 1.0)):
            run.log(step=step, loss=loss)
        run.log(event="validation", step=2, score=0.5)
        run.log(event="damaged-checkpoint", line="one")
        run.log(event="damaged-checkpoint", line="two")
    events = read_log(tmp_path)
    assert [(event["step"], event["loss"]) for event in events if "loss" in event] == [
        (1, 3.0),
        (2, 2.0),
        (3, 1.0),
    ]
    assert sum(event.get("event") == "validation" for event in events) == 1
    assert sum(event.get("event") == "damaged-checkpoint" for event in events) == 2


def test_what_a_resume_took_back_and_a_half_written_line_are_not_told(tmp_path: Path) -> None:
    with open_run(tmp_path, ASKED) as run:
        run.log(step=None, loss=None)
        for step in (1, 2, 3):
            run.log(step=step, loss=4.0 - step)
        run.log(event="resumed", step=2)
        run.log(event="resumed", step=1)
        with (tmp_path / LOG).open("a") as file:
            file.write('{"step": 2, "lo')
        told = [(event.get("event", "step"), event["step"]) for event in read_log(tmp_path)]
    assert told == [("step", None), ("step", 1), ("resumed", 2), ("resumed", 1)]


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    with open_run(tmp_path, ASKED) as run:
        run.log(step=1, loss=math.nan, norm=math.inf, lr=1 / 3)
    assert json.loads((tmp_path / LOG).read_text()) == {
        "step": 1,
        "loss": None,
        "norm": None,
        "lr": 0.333333,
    }


def test_a_finished_run_is_done_and_keeps_its_results(tmp_path: Path) -> None:
    with open_run(tmp_path, ASKED) as run:
        run.finish({"training": {"steps": 4}})
    with open_run(tmp_path, ASKED) as run:
        assert run.done
        assert run.metrics() == {"training": {"steps": 4}}


def refuse(run: RunFolder) -> None:
    (run.path / "splits").mkdir()
    raise OptionError("unknown backbone")


def test_a_run_refused_before_it_began_leaves_nothing_and_binds_nobody(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with (
        pytest.raises(OptionError),
        open_run(out, {"finetune": {"backbone": "resnet19"}, "record": {}}) as run,
    ):
        refuse(run)
    assert not out.exists()
    with (
        pytest.raises(KeyboardInterrupt),
        open_run(out, {"finetune": {"backbone": "resnet19"}, "record": {}}),
    ):
        raise KeyboardInterrupt
    with open_run(out, {"finetune": {"backbone": "resnet18"}, "record": {}}) as run:
        run.log(event="chance", step=0, value=1.0)
    with (
        pytest.raises(RunError, match="other options"),
        open_run(out, {"finetune": {"backbone": "x"}, "record": {}}),
    ):
        pass


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "splits").mkdir()
    (tmp_path / "options.yaml").write_text("mine: 1\n")
    with pytest.raises(RunError, match="is no run"), open_run(tmp_path, {"record": {}}):
        pass
    assert (tmp_path / "splits").is_dir()


RECORD = {"data": [{"source": "a", "films": 2, "fingerprint": "f", "split": "s"}]}


def block(data: list[str], record: dict[str, Any] = RECORD, **more: Any) -> dict[str, Any]:
    return {"finetune": {"data": data, "lr": 0.1, **more}, "record": record}


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (block(["/a/store"]), block(["/b/store"])),
        (block(["store"]), block(["/a/store"])),
        (block(["/a"], unlabelled=["/c"]), block(["/b"], unlabelled=["/d"])),
        (
            block(["/a"], {**RECORD, "pseudo_labels": "h"}, pseudo_labels="/a/t.parquet"),
            block(["/a"], {**RECORD, "pseudo_labels": "h"}, pseudo_labels="/b/t.parquet"),
        ),
    ],
)
def test_a_run_goes_on_where_its_store_was_moved(
    tmp_path: Path, then: dict[str, Any], now: dict[str, Any]
) -> None:
    with open_run(tmp_path / "run", then) as run:
        run.log(event="start")
    with open_run(tmp_path / "run", now):
        pass
    # Other ranks read their options there, so it has the new place.
    assert yaml.safe_load((tmp_path / "run" / "options.yaml").read_text()) == now


@pytest.mark.parametrize(
    "now",
    [
        block(["/b"], {"data": [{**RECORD["data"][0], "fingerprint": "other"}]}),
        block(["/b"], {"data": [{**RECORD["data"][0], "split": "other"}]}),
        block(["/a", "/b"], {"data": RECORD["data"] * 2}),
        block(["/b"], lr=0.2),
        block(["/b"], {}),
    ],
)
def test_a_run_with_other_films_at_another_place_is_refused(
    tmp_path: Path, now: dict[str, Any]
) -> None:
    with open_run(tmp_path / "run", block(["/a"])) as run:
        run.log(event="start")
    with pytest.raises(RunError, match="other options"), open_run(tmp_path / "run", now):
        pass


def test_results_added_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    def add(number: int) -> None:
        with changed_metrics(tmp_path) as metrics:
            metrics.setdefault("evaluations", {})[str(number)] = number

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert len(read_metrics(tmp_path)["evaluations"]) == 40
    assert sorted(file.name for file in tmp_path.iterdir()) == ["metrics.json"]


def test_results_that_cannot_be_written_are_told_in_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match=r"metrics\.json cannot be written \(No such file"),
        changed_metrics(tmp_path / "gone"),
    ):
        pass
    with pytest.raises(RunError, match="cannot be written"), changed_metrics(tmp_path):
        raise OSError(28, "No space left on device")


def test_an_error_between_leaves_the_results_as_they_were(tmp_path: Path) -> None:
    with changed_metrics(tmp_path) as metrics:
        metrics["one"] = 1
    with pytest.raises(KeyError), changed_metrics(tmp_path) as metrics:
        metrics["two"] = {}["absent"]
    assert read_metrics(tmp_path) == {"one": 1}
