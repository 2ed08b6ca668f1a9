"""A tiny study end to end: every cell done, rates chosen, continued, one model broken, mistakes refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from heard import Heard
from study_plans import MODELS, SCRATCH, TWO_RATES, tiny_plan, weights

from hilum.errors import DataError, OptionError, RunError
from hilum.listener import Listener
from hilum.workflows.prepare.split import SplitOptions, split
from hilum.workflows.study.options import StudyEvaluation
from hilum.workflows.study.plan import PolicyComparison, StudyModel, StudyPlan
from hilum.workflows.study.record import read_study
from hilum.workflows.study.study import StudyResult, study

Make = Callable[..., StudyPlan]


@pytest.fixture(scope="module")
def make(tiny_store: Path) -> Make:
    return partial(tiny_plan, tiny_store)


@pytest.fixture(scope="module")
def finished(make: Make, tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    return study(make(tmp_path_factory.mktemp("study") / "study", **TWO_RATES))


@pytest.fixture
def own(finished: StudyResult, tmp_path: Path) -> Path:
    return shutil.copytree(finished.record.folder, tmp_path / "study")


def test_every_cell_is_done_and_those_that_count_are_measured(finished: StudyResult) -> None:
    record = read_study(finished.record.folder)
    assert record == finished.record
    assert record.finished
    assert record.reference == "from scratch"
    assert {cell.state for cell in record.cells} == {"done"}
    assert len(record.cells) == 1 + 2 * 3
    for cell in record.cells:
        run = record.path(cell)
        measured = json.loads((run / "metrics.json").read_text()).get("evaluations", {})
        assert set(measured) == ({"val", "test"} if cell.chosen else set()), cell.id
        assert not (run / "checkpoints").exists()
        assert (run / "predictions-test.parquet").exists() == cell.chosen
    json.dumps(finished.to_json())


def test_the_rate_is_the_best_of_the_first_seed_and_that_of_the_others(
    finished: StudyResult,
) -> None:
    for model in MODELS:
        tried = [
            cell
            for cell in finished.record.cells
            if cell.model == model and cell.lr and cell.seed == 0
        ]
        tried = [cell for cell in tried if cell.kind == "finetune"]
        first, second = finished.record.chosen(model=model)
        assert {cell.lr for cell in tried} == {1e-3, 3e-3}
        assert first.validation_auroc == max(cell.validation_auroc for cell in tried)
        assert second.lr == first.lr
        options = (finished.record.path(second) / "options.yaml").read_text("utf-8")
        assert "subset_seed: 1" in options
        assert " seed: 1" in options


def test_a_pretrained_model_starts_from_its_pretraining(finished: StudyResult) -> None:
    (cell, *_) = finished.record.chosen(model="MoCo")
    assert "moco-pretrain" in (finished.record.path(cell) / "options.yaml").read_text("utf-8")


def test_again_it_leaves_every_run_alone(own: Path, make: Make) -> None:
    before, listener = weights(own), Heard()
    again = study(make(own, **TWO_RATES), listener)
    assert again.already_done
    assert "done already" in listener.notes[0]
    assert weights(own) == before


def test_another_plan_is_refused_with_the_difference(own: Path, make: Make) -> None:
    with pytest.raises(RunError, match=r"another study .*seeds: 2 there, 3 now"):
        study(make(own, **{**TWO_RATES, "seeds": 3}))


def test_another_split_is_refused(tiny_store: Path, tmp_path: Path) -> None:
    store = shutil.copytree(tiny_store, tmp_path / "store")
    plan = tiny_plan(store, tmp_path / "study", models=SCRATCH)
    study(plan)
    usual = (store / "split.json").read_bytes()
    split(store, SplitOptions(seed=5))
    with pytest.raises(RunError, match=r"store was split anew since .* choose another --out"):
        study(plan)
    (store / "split.json").write_bytes(usual)
    assert study(plan).already_done


def test_the_same_store_by_another_path_is_the_same_study(
    own: Path, make: Make, tiny_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_store.parent)
    assert study(make(own, **TWO_RATES, data=(Path(tiny_store.name),))).already_done


def test_measuring_may_change_and_costs_no_run(
    own: Path, make: Make, give_thresholds: Callable[[Path], None]
) -> None:
    before, told = weights(own), json.loads((own / "analysis.json").read_text())
    for cell in read_study(own).chosen():
        give_thresholds(read_study(own).path(cell))
    measured = StudyEvaluation(min_positives=1, resamples=30, subgroup_patients=2, prevalence=0.1)
    again = study(make(own, **TWO_RATES, evaluation=measured))
    assert weights(own) == before
    assert (told["test"]["resamples"], again.record.plan["evaluation"]["resamples"]) == (20, 30)
    assert json.loads((own / "analysis.json").read_text())["test"]["resamples"] == 30
    for cell in again.record.chosen():
        found = json.loads((again.record.path(cell) / "metrics.json").read_text())["evaluations"][
            "test"
        ]
        points = [point for rules in found["operating_points"].values() for point in rules]
        assert {point["prevalence"] for point in points} == {0.1}
    assert "resamples: 30" in (own / "study.yaml").read_text()
    assert study(make(own, **TWO_RATES, evaluation=measured)).already_done


def test_where_findings_lie_may_be_said_later(own: Path, make: Make, tmp_path: Path) -> None:
    before = (own / "analysis.json").read_bytes()
    (own / "localisation.json").write_text("{}")
    again = study(make(own, **TWO_RATES, annotations=(tmp_path,)))
    assert again.already_done
    assert "reason" in json.loads((own / "localisation.json").read_text())
    assert (own / "analysis.json").read_bytes() == before
    assert (
        again.record.plan["annotations"]
        == read_study(own).plan["annotations"]
        == [str(tmp_path.resolve())]
    )


def test_an_error_after_the_runs_is_a_line_and_tried_again(own: Path, make: Make) -> None:
    for name in ("analysis.json", "localisation.json"):
        (own / name).unlink()
        (own / name).mkdir()  # so that it cannot be written
    told = study(make(own, **TWO_RATES))
    assert [line.partition(":")[0] for line in told.faults] == [
        "numbers across runs",
        "where the models look",
    ]
    assert read_study(own).faults == told.faults
    assert told.models == ()
    assert all("\n" not in line for line in told.faults)
    for name in ("analysis.json", "localisation.json"):
        (own / name).rmdir()
    mended = study(make(own, **TWO_RATES))
    assert (mended.faults, read_study(own).faults) == ((), ())
    assert len(mended.models) == 2


def test_a_deleted_record_costs_no_run(own: Path, make: Make) -> None:
    before = weights(own)
    (own / "study.json").unlink()
    again = study(make(own, **TWO_RATES))
    assert [cell.chosen for cell in again.record.cells] == [
        cell.chosen for cell in read_study(own).cells
    ]
    assert weights(own) == before


def test_a_folder_of_something_else_is_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds 'mine.txt' and is no study"):
        study(make(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_model_that_cannot_start_fails_alone_and_is_tried_again(
    make: Make, tmp_path: Path
) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"no weights")
    models = {**MODELS, "ours": StudyModel(init=str(file))}
    listener = Heard()
    record = study(make(tmp_path / "study", models=models), listener).record
    assert [(cell.id, cell.state) for cell in record.failed] == [
        ("ours-50-ignore-seed-0", "failed")
    ]
    assert str(file) in record.failed[0].error
    assert {cell.model for cell in record.chosen()} == set(MODELS)
    assert any("ours-50-ignore-seed-0 failed: " in line for line in listener.notes)
    before = weights(tmp_path / "study")
    shutil.copy(next(tmp_path.glob("study/runs/moco-pretrain/model/model.safetensors")), file)
    mended = study(make(tmp_path / "study", models=models)).record
    assert mended.failed == ()
    assert {
        name: value for name, value in weights(tmp_path / "study").items() if name in before
    } == before


def test_what_starts_from_a_failed_pretraining_fails_naming_it(make: Make, tmp_path: Path) -> None:
    models = {**MODELS, "MoCo": StudyModel(pretrain="moco", init=str(tmp_path / "nothing"))}
    record = study(make(tmp_path / "study", models=models)).record
    assert [cell.error for cell in record.failed][1:] == ["its pretraining moco-pretrain failed"]
    assert {cell.model for cell in record.chosen()} == {"from scratch"}


def test_policies_share_the_run_that_the_main_table_has(make: Make, tmp_path: Path) -> None:
    policies = PolicyComparison(model="from scratch", fraction=0.5, compare=("ignore", "ones"))
    record = study(make(tmp_path / "study", models=SCRATCH, policies=policies)).record
    runs = [(cell.group, cell.policy, cell.run) for cell in record.chosen()]
    assert runs == [
        ("main", "ignore", "runs/from-scratch-50-ignore-seed-0"),
        ("policies", "ignore", "runs/from-scratch-50-ignore-seed-0"),
        ("policies", "ones", "runs/from-scratch-50-ones-seed-0"),
    ]
    assert len(list((tmp_path / "study/runs").iterdir())) == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"models": {}}, "models is empty"),
        ({"models": {"a": StudyModel()}}, "models.a starts from nothing"),
        ({"models": {"a": StudyModel(pretrain="moko")}}, "Did you mean 'moco'"),
        (
            {"models": {"a": StudyModel(init="random", fractions=(2.0,))}},
            "models.a.fractions has 2",
        ),
        ({"models": {"a": StudyModel(init="random", seeds=0)}}, "models.a.seeds is 0"),
        ({"reference": "b"}, "unknown model of --reference 'b'"),
        ({"fractions": (0.5, 0.5)}, "--fractions has 0.5 twice"),
        ({"learning_rates": ()}, "--learning-rates is empty"),
        ({"learning_rates": (-1.0,)}, "--learning-rates has -1"),
        ({"jobs": -1}, "--jobs is -1"),
        ({"epochs": {0.5: 0}}, "epochs.0.5 is 0"),
        (
            {"policies": PolicyComparison(model="MoCo", compare=("twos",))},
            "unknown policy of policies.compare 'twos'",
        ),
        ({"policies": PolicyComparison(model="moco")}, "unknown model of policies.model 'moco'"),
        (
            {"epochs": {0.1: 3}},
            "epochs has 0.1, a fraction that nothing is trained on: allowed are 0.5",
        ),
        (
            {"models": {"a": StudyModel(init="random", epochs={0.1: 3})}},
            "models.a.epochs has 0.1",
        ),
    ],
)
def test_a_plan_that_cannot_work_is_one_line(
    make: Make, tmp_path: Path, more: dict[str, object], said: str
) -> None:
    with pytest.raises(OptionError, match=said):
        make(tmp_path / "study", **more)


def test_policies_of_single_findings_are_not_compared(make: Make, tmp_path: Path) -> None:
    plan = make(tmp_path / "study")
    labels = replace(plan.finetune.labels, per_finding={"Edema": "ones"})
    with pytest.raises(
        OptionError, match=r"policies compares what finetune.labels.per_finding fixes \(Edema\)"
    ):
        replace(
            plan,
            finetune=replace(plan.finetune, labels=labels),
            policies=PolicyComparison(model="MoCo"),
        )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"backbone": "resnet9000"}, "unknown backbone 'resnet9000'"),
        ({"data": (Path("nowhere"),)}, "nowhere"),
        (
            {"models": {"a b": StudyModel(init="random"), "A-B": StudyModel(init="random")}},
            "whose folder 'a-b'",
        ),
    ],
)
def test_what_the_data_or_networks_refuse_is_found_before_anything_runs(
    make: Make, tmp_path: Path, more: dict[str, object], said: str
) -> None:
    plan = make(tmp_path / "study")
    own = {key: value for key, value in more.items() if key == "models"}
    options = replace(plan.options, **{key: value for key, value in more.items() if key not in own})
    with pytest.raises((OptionError, DataError), match=said):
        study(replace(plan, options=options, **own))
    assert not (tmp_path / "study").exists()


def test_a_store_without_validation_films_is_refused_before_anything_runs(
    tiny_store: Path, tmp_path: Path
) -> None:
    store = shutil.copytree(tiny_store, tmp_path / "store")
    split(store, SplitOptions(val=0.0))
    with pytest.raises(DataError, match="part 'val' of"):
        study(tiny_plan(store, tmp_path / "study", models=SCRATCH))
    assert not (tmp_path / "study").exists()


def test_a_fault_of_the_program_is_one_line_and_a_traceback_in_a_file(
    make: Make, tmp_path: Path
) -> None:
    (tmp_path / "study/runs").mkdir(parents=True)
    (tmp_path / "study/runs/from-scratch-50-ignore-seed-0").write_text("a file in the way")
    record = study(make(tmp_path / "study", models=SCRATCH)).record
    assert len(record.failed) == 1
    assert "\n" not in record.failed[0].error


def test_a_study_at_work_keeps_its_record_after_each_change(make: Make, tmp_path: Path) -> None:
    seen: list[str] = []

    class Looking(Listener):
        def note(self, line: str) -> None:
            if " is done" in line:
                seen.append(",".join(cell.state for cell in read_study(tmp_path / "study").cells))

    study(make(tmp_path / "study"), Looking())
    assert seen == ["running,waiting,waiting", "done,running,waiting", "done,done,running"]
