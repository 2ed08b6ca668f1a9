"""The demo in miniature: the whole story in one process, continued, left alone, refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hilum.errors import OptionError, RunError
from hilum.listener import Listener
from hilum.report.pages import write_report
from hilum.workflows.compare import compare
from hilum.workflows.demo import DemoOptions, DemoPlan, DemoResult, Stages, demo, films_to_explain

PLAN = DemoPlan(
    films=100,
    drawn_size=32,
    size=32,
    backbone="test_resnet",
    pretrain_epochs=1,
    epochs=((0.2, 1), (1.0, 1)),
    min_positives=2,
    resamples=40,
    explained=1,
)


class Notes(Listener):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    return demo(DemoOptions(out=tmp_path_factory.mktemp("demo") / "demo", seed=1), plan=PLAN)


@pytest.fixture
def own(finished: DemoResult, tmp_path: Path) -> Path:
    return shutil.copytree(finished.out, tmp_path / "demo")


def test_it_fine_tunes_two_models_on_two_shares_and_ends_in_a_page(finished: DemoResult) -> None:
    assert [(model.name, model.fraction) for model in finished.models] == [
        ("MoCo", 0.2), ("from scratch", 0.2), ("MoCo", 1.0), ("from scratch", 1.0),
    ]  # fmt: skip
    assert all(0 <= model.auroc_macro <= 1 for model in finished.models)
    assert not finished.already_done
    assert write_report(finished.out).report.read_text("utf-8").startswith("<!doctype html>")
    json.dumps(finished.to_json())


def test_its_models_start_where_they_say(finished: DemoResult) -> None:
    for model in finished.models:
        options = (model.run / "options.yaml").read_text("utf-8")
        assert ("runs/moco" in options) == (model.name == "MoCo")
        assert f"fraction: {model.fraction}" in options


def test_again_it_leaves_everything_alone(finished: DemoResult) -> None:
    weights = {path: path.read_bytes() for path in finished.out.rglob("*.safetensors")}
    record, listener = (finished.out / "demo.json").read_bytes(), Notes()
    again = demo(DemoOptions(out=finished.out, seed=1), listener, PLAN)
    assert again.already_done
    assert again.models == finished.models
    assert "already done" in listener.lines[-1]
    assert {path: path.read_bytes() for path in finished.out.rglob("*.safetensors")} == weights
    assert (finished.out / "demo.json").read_bytes() == record


def test_an_unfinished_demo_is_continued_to_the_same_end(finished: DemoResult) -> None:
    last, record = finished.models[-1].run, finished.out / "demo.json"
    weights, told = (last / "model/model.safetensors").read_bytes(), record.read_bytes()
    shutil.rmtree(last)
    shutil.rmtree(finished.out / "explained")
    content = {key: value for key, value in json.loads(told).items() if key not in ("probes", "comparisons")}
    record.write_text(json.dumps({**content, "finished": False}), "utf-8")
    again = demo(DemoOptions(out=finished.out, seed=1), plan=PLAN)
    assert again.models == finished.models
    assert (last / "model/model.safetensors").read_bytes() == weights
    assert record.read_bytes() == told


@pytest.mark.parametrize("plan", [PLAN, DemoPlan()])
def test_other_options_are_refused(own: Path, plan: DemoPlan) -> None:
    seed = 2 if plan is PLAN else 1
    with pytest.raises(RunError, match="demo with other options"):
        demo(DemoOptions(out=own, seed=seed), plan=plan)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="something else than a demo"):
        demo(DemoOptions(out=tmp_path), plan=PLAN)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_negative_seed_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--seed is -1"):
        demo(DemoOptions(out=tmp_path / "demo", seed=-1), plan=PLAN)
    assert not (tmp_path / "demo").exists()


def test_a_damaged_record_is_one_clear_line(own: Path) -> None:
    (own / "demo.json").write_text("{", "utf-8")
    with pytest.raises(RunError, match="run the demo again"):
        demo(DemoOptions(out=own, seed=1), plan=PLAN)


def test_films_are_chosen_by_the_seed_alone(finished: DemoResult) -> None:
    store = finished.out / "store"
    assert films_to_explain(store, 3, 5) == films_to_explain(store, 3, 5)
    assert len({tuple(films_to_explain(store, 3, seed)) for seed in range(6)}) > 1


def test_a_comparison_turned_round_has_the_other_sign(finished: DemoResult) -> None:
    runs = [model.run for model in finished.models[:2]]
    how = Stages(finished.out, 1, PLAN, Listener()).measuring()
    there, back = compare(*runs, how), compare(*reversed(runs), how)
    assert there.auroc_macro.value == pytest.approx(-back.auroc_macro.value)
    assert there.auroc_macro.interval.low == pytest.approx(-back.auroc_macro.interval.high)


def test_a_comparison_needs_predictions_of_these_films(own: Path) -> None:
    how = Stages(own, 1, PLAN, Listener()).measuring()
    first, second = own / "runs/moco-20", own / "runs/from-scratch-20"
    (first / "predictions-test.parquet").unlink()
    with pytest.raises(RunError, match="hilum evaluate"):
        compare(first, second, how)
