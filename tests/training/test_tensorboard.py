"""TensorBoard's curves: the log's numbers, without what a killed run wrote beyond its checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hilum.errors import OptionError
from hilum.training.run_folder import open_run, read_log
from hilum.training.tensorboard import FOLDER, curves, mirrored, require_tensorboard


def shown(run: Path) -> dict[str, list[tuple[int, float]]]:
    reader = EventAccumulator(str(run / FOLDER))
    reader.Reload()
    return {
        name: [(event.step, pytest.approx(event.value)) for event in reader.Scalars(name)]
        for name in reader.Tags()["scalars"]
    }


def test_what_is_logged_is_drawn_and_what_a_resume_repeats_is_drawn_once(tmp_path: Path) -> None:
    with open_run(tmp_path, {}) as folder, mirrored(folder, True) as run:
        run.log(event="damaged-checkpoint", line="…")
        run.log(event="chance", step=0, value=3.0)
        for step in (10, 20, 30):
            run.log(step=step, loss=step / 10, images_per_second=5)
        run.log(event="warning", step=30, kind="collapse", line="films look alike")
    with open_run(tmp_path, {}) as folder, mirrored(folder, True) as run:
        run.log(event="resumed", step=20)
        run.log(step=30, loss=9.0)
        run.log(event="online-probe", step=30, films=8, knn=0.5, findings={"Edema": {"knn": 0.5}})
    found = shown(tmp_path)
    assert found["train/loss"] == [(10, 1.0), (20, 2.0), (30, 9.0)]
    assert found["chance/value"] == [(0, 3.0)]
    assert found["online-probe/findings/Edema/knn"] == [(30, 0.5)]
    assert "online-probe/films" not in found
    assert [event["loss"] for event in read_log(tmp_path) if "loss" in event] == [1.0, 2.0, 9.0]


def test_without_the_wish_or_an_event_nothing_is_written(tmp_path: Path) -> None:
    with open_run(tmp_path, {}) as folder:
        with mirrored(folder, False) as run:
            assert run is folder
        with mirrored(folder, True):
            pass
    assert not (tmp_path / FOLDER).exists()


def test_only_numbers_become_curves() -> None:
    event = {"step": 3, "line": "x", "value": None, "stopped": True, "lr": 1, "findings": {}}
    assert list(curves("train", event)) == [("train/lr", 1.0)]


def test_a_missing_package_is_one_line_that_names_the_extra() -> None:
    require_tensorboard()
    with pytest.raises(
        OptionError, match=r"--monitor.tensorboard needs .* `pip install 'hilum\[tensorboard\]'"
    ):
        require_tensorboard("no_such_package_at_all")
