"""``hilum study``: the plan from a config, its mistakes in one line, and a study of phantoms end to end."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from hilum.cli.app import build_app
from hilum.cli.configs import READ_BY_COMMAND
from hilum.cli.study import planned, results_table
from hilum.images.store import Store
from hilum.labels import POLICIES
from hilum.splits import Split
from hilum.workflows.study.cells import cells_of
from hilum.workflows.study.options import PLAN_KEYS, StudyEvaluation, StudyOptions
from hilum.workflows.study.plan import PolicyComparison, StudyModel, StudyPlan
from hilum.workflows.study.plan_file import study_block
from hilum.workflows.study.study import ModelResult

PRESETS = ("demo", "demo-study", "few-labels", "nih14-study", "paper-study")
TINY = """
study:
  backbone: resnet10t
  fractions: [1.0]
  learning_rates: [1e-3]
  models:
    MoCo: {pretrain: moco}
    from scratch: {init: random}
  pretrain:
    train: {epochs: 1, batch_size: 16, accelerator: cpu}
  finetune:
    train: {epochs: 1, min_steps: 0, batch_size: 16, accelerator: cpu}
  evaluation: {min_positives: 1, resamples: 20}
"""


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "my.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def plan_of(*words: object) -> StudyPlan:
    line = ["study", *(str(word) for word in words)]
    _, bound, _ = build_app(line).parse_args(line)
    return planned(bound.arguments["options"], line[line.index("--config") + 1])


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_plan_and_its_record_repeats_it(
    name: str, config: Callable[[str], Path]
) -> None:
    plan = plan_of("--data", "a", "--out", "b", "--config", name)
    assert cells_of(plan)
    record = config(yaml.safe_dump({"study": study_block(plan)}, sort_keys=False))
    again = plan_of("--out", "b", "--config", record)
    assert study_block(again) == study_block(plan)
    assert cells_of(again) == cells_of(plan)


def test_the_papers_study_is_four_methods_and_two_baselines_on_three_shares() -> None:
    plan = plan_of("--data", "a", "--out", "b", "--config", "paper-study")
    self_trained = {
        name: row.self_train for name, row in plan.models.items() if row.self_train is not None
    }
    assert self_trained == {"MoCo+pseudo-labels": "MoCo"}
    assert [name for name in plan.models if name not in self_trained] == [
        "MoCo", "SimCLR", "BYOL", "SwAV", "ResNet-50", "Inception V3",
    ]  # fmt: skip
    assert plan.options.fractions == (0.1, 0.5, 1.0)
    assert set(plan.policies.compare) == set(POLICIES)
    main = {
        (cell.model, cell.fraction)
        for cell in cells_of(plan)
        if cell.kind == "finetune" and cell.group == "main"
    }
    assert len(main) == 6 * 3
    assert {row.init for name, row in plan.models.items() if row.pretrain is None} == {
        "imagenet",
        None,
    }
    assert {cell.fraction for cell in cells_of(plan) if cell.kind == "pseudo-label"} == {0.1, 0.5}


def test_a_model_to_be_grown_goes_with_the_shares_that_the_line_leaves_out() -> None:
    start = ("--data", "a", "--out", "b", "--config", "demo-study")
    assert "MoCo+pseudo-labels" in plan_of(*start).models
    assert "MoCo+pseudo-labels" in plan_of(*start, "--fractions", 0.1).models
    assert plan_of(*start, "--fractions", 0.5, 1.0).models["MoCo+pseudo-labels"].fractions == (0.5,)
    assert "MoCo+pseudo-labels" not in plan_of(*start, "--fractions", 1.0).models


@pytest.mark.parametrize("method", ["moco", "simclr", "byol", "swav"])
def test_the_papers_study_pretrains_as_the_papers_config(method: str) -> None:
    plan = plan_of("--data", "a", "--out", "b", "--config", "paper-study")
    line = ["pretrain", method, "--data", "a", "--out", "b", "--config", "paper"]
    arguments = build_app(line).parse_args(line)[1].arguments
    mine, theirs = plan.pretrain[method], arguments["options"]
    assert (mine.options.train, mine.options.init) == (theirs.train, theirs.init)
    told = arguments["method"]
    for entry in fields(mine.method):
        assert str(getattr(mine.method, entry.name)) == str(getattr(told, entry.name)), entry.name


def test_the_papers_study_fine_tunes_as_the_papers_config() -> None:
    plan = plan_of("--data", "a", "--out", "b", "--config", "paper-study")
    line = ["finetune", "--data", "a", "--out", "b", "--config", "paper"]
    theirs = build_app(line).parse_args(line)[1].arguments["options"]
    assert (plan.finetune.labels, plan.finetune.train.epochs) == (
        theirs.labels,
        theirs.train.epochs,
    )
    assert (plan.finetune.sampler, plan.finetune.loss) == (theirs.sampler, theirs.loss)
    assert theirs.train.lr in plan.options.learning_rates


def test_what_stands_on_the_line_wins(config: Callable[[str], Path]) -> None:
    plan = plan_of(
        "--data", "a", "--out", "b", "--config", config(TINY), "--seeds", 3, "--fractions", 0.1, 0.5
    )
    assert (plan.options.seeds, plan.options.fractions, plan.reference) == (
        3,
        (0.1, 0.5),
        "from scratch",
    )


def test_a_model_has_epochs_for_single_shares(config: Callable[[str], Path]) -> None:
    text = (
        TINY.replace("{init: random}", "{init: random, epochs: {1.0: 4}}")
        + "  epochs: {1.0: 7, 0.5: 9}\n"
    )
    text = text.replace("fractions: [1.0]", "fractions: [0.5, 1.0]")
    plan = plan_of("--data", "a", "--out", "b", "--config", config(text))
    assert [plan.epochs_of("from scratch", share) for share in (1.0, 0.5)] == [4, 9]
    assert [plan.epochs_of("MoCo", share) for share in (1.0, 0.5, 0.1)] == [7, 9, 1]
    assert plan.models["MoCo"] == StudyModel(pretrain="moco")
    fewer = plan_of("--data", "a", "--out", "b", "--config", config(text), "--fractions", 0.5)
    assert (fewer.epochs, fewer.models["from scratch"].epochs) == ({0.5: 9}, None)


def test_one_number_of_epochs_counts_for_every_fraction(config: Callable[[str], Path]) -> None:
    text = TINY.replace("{init: random}", "{init: random, epochs: 3}") + "  epochs: 5\n"
    plan = plan_of(
        "--data", "a", "--out", "b", "--config", config(text), "--fractions", 0.1, 0.5, 1.0
    )
    assert [plan.epochs_of("MoCo", fraction) for fraction in (0.1, 0.5, 1.0)] == [5, 5, 5]
    assert plan.epochs_of("from scratch", 0.5) == 3
    assert study_block(plan)["epochs"] == 5


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "pretrain: moco",
            "pretrian: moco",
            "models.MoCo has the unknown key pretrian. Did you mean pretrain?",
        ),
        ("pretrain: moco", "pretrain: moko", "unknown method of models.MoCo.pretrain 'moko'"),
        ("{init: random}", "random", "models.from scratch is 'random': allowed is a block"),
        ("{init: random}", "{init: random, epochs: many}", "allowed is a whole number"),
        (
            "{init: random}",
            "{init: random, epochs: {half: 3}}",
            "models.from scratch.epochs: the key is 'half': allowed is a number",
        ),
        (
            "{init: random}",
            "{init: random, epochs: {1.0: 2.7}}",
            "models.from scratch.epochs.1.0 is '2.7': allowed is a whole number",
        ),
        (
            "{init: random}",
            "{init: random, epochs: {0.1: 2}}",
            "models.from scratch.epochs has 0.1, a fraction that",
        ),
        (
            "  models:",
            "  epochs: {0.01: 2}\n  models:",
            "my.yaml: epochs has 0.01, a fraction that nothing is trained on",
        ),
        ("  pretrain:\n", "  pretrain:\n    byol: {train: {epoch: 1}}\n", "Did you mean"),
        ("{init: random}", "{backbone: resnet50}", "models.from scratch starts from nothing"),
        ("fractions: [1.0]", "fractions: [10]", "--fractions has 10"),
        (
            "fractions: [1.0]",
            "fraction: [1.0]",
            "has the unknown key fraction. Did you mean fractions?",
        ),
        ("backbone: resnet10t", "seeds: 0", "--seeds is 0: allowed is 1 or more"),
        ("backbone: resnet10t", "seeds: 1.5", "seeds in"),
        ("backbone: resnet10t", "reference: BYOL", "unknown model of --reference 'BYOL'"),
        (
            "backbone: resnet10t",
            "policies: {model: MoCo, compare: [twos]}",
            "policy of policies.compare 'twos'",
        ),
        (
            "backbone: resnet10t",
            "policies: {compare: [ones]}",
            "policies.model is missing: give it.",
        ),
        (
            "  finetune:\n    train: {",
            "  finetune:\n    train: {lr: 1e-3, ",
            "finetune has train.lr, which the study",
        ),
        (
            "  finetune:\n    train: {",
            "  finetune:\n    train: {schedule: onecycel, ",
            "my.yaml: finetune.train.schedule is 'onecycel': allowed is cosine, onecycle. Did you mean 'onecycle'?",
        ),
        (
            "  finetune:\n    train: {",
            "  finetune:\n    train: {batchsize: 3, ",
            "my.yaml: finetune.train has the unknown key batchsize. Did you mean batch_size?",
        ),
        ("{init: random}", "{init: random, freeze: perhaps}", "allowed is true or false"),
        (
            "{init: random}",
            "{grow: MoCo}",
            "study.models.from scratch.grow, which is called models.",
        ),
        ("  pretrain:\n", "  pretrain:\n    mocco: {train: {epochs: 1}}\n", "unknown method of"),
        ("epochs: 1, batch_size: 16", "epochs: 0, batch_size: 16", "--train.epochs is 0"),
        ("study:", "studies:", "unknown block 'studies'"),
        (
            "{init: random}",
            "{self_train: Moko}",
            "unknown model of models.from scratch.self_train 'Moko'",
        ),
        (
            "{init: random}",
            "{self_train: MoCo}",
            "models.from scratch has nothing to label, as MoCo learns from all labels",
        ),
        ("  finetune:\n", "  pseudo_label: {precision: 2}\n  finetune:\n", "--precision is 2"),
        (
            "  finetune:\n",
            "  pseudo_label: {from: x}\n  finetune:\n",
            "pseudo_label has from, which the study sets",
        ),
        (
            "  finetune:\n",
            "  pseudo_label: {presicion: 0.8}\n  finetune:\n",
            "Did you mean precision?",
        ),
    ],
)
def test_a_mistake_in_the_plan_is_one_line_and_nothing_runs(
    hilum, config, tmp_path, old, new, said
) -> None:
    assert old in TINY
    answer = hilum(
        "study",
        "--data",
        tmp_path,
        "--out",
        tmp_path / "s",
        "--config",
        config(TINY.replace(old, new, 1)),
    )
    assert answer.code in (1, 2)
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not (tmp_path / "s").exists()


def test_the_plan_of_the_page_is_one(config: Callable[[str], Path]) -> None:
    page = Path(__file__).parents[2] / "docs/study.md"
    (text,) = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    plan = plan_of("--data", "a", "--out", "b", "--config", config(text))
    runs = {cell.model: cell.run for cell in cells_of(plan) if cell.kind == "pretrain"}
    assert runs == dict.fromkeys(
        ("MoCo", "MoCo, frozen"), "runs/moco-pretrain"
    )  # alike in all: pretrained once
    assert plan.epochs_of("MoCo", 0.1) == 30


def test_the_command_leaves_the_plans_own_keys_to_it() -> None:
    assert READ_BY_COMMAND["study"] == PLAN_KEYS
    assert {*PLAN_KEYS, "options"} == {entry.name for entry in fields(StudyPlan)}


def uncommented(text: str) -> str:
    """Return the template with its examples put to use."""
    return re.sub(r"^( *)# - ", r"\1", text, flags=re.MULTILINE)


@pytest.mark.parametrize("change", [str, uncommented])
def test_the_template_is_a_plan_with_and_without_its_examples(hilum, tmp_path, change) -> None:
    path = tmp_path / "plan.yaml"
    answer = hilum("study", "--template", "--out", path)
    assert (answer.code, answer.out.strip()) == (0, str(path))
    assert hilum("study", "--template").out == path.read_text("utf-8")
    assert hilum("study", "--template", "--out", path).code == 1
    path.write_text(change(path.read_text("utf-8")), "utf-8")
    plan = plan_of("--data", "a", "--out", "b", "--config", path)
    assert cells_of(plan)
    assert plan.epochs_of("from scratch", 0.1) == 10
    assert plan.epochs_of("from scratch", 1.0) == 10


def test_the_template_names_every_key_of_a_plan() -> None:
    text = files("hilum.workflows.study").joinpath("template.yaml").read_text("utf-8")
    kinds = (StudyOptions, StudyModel, PolicyComparison, StudyEvaluation)
    keys = {entry.name for kind in kinds for entry in fields(kind)} | {*PLAN_KEYS}
    missing = [
        key
        for key in keys - {"out"}
        if not re.search(rf"\b{key}: ", f"{text} ".replace(":\n", ": "))
    ]
    assert not missing


def test_a_study_needs_a_config(hilum, tmp_path) -> None:
    said = hilum("study", "--data", "a", "--out", tmp_path / "s")
    assert (said.code, said.out) == (1, "")
    assert "--config is missing" in said.err


def test_a_config_without_a_study_is_refused(hilum, tmp_path, config) -> None:
    path = config("finetune: {fraction: 0.5}\n")
    said = hilum("study", "--data", "a", "--out", tmp_path / "s", "--config", path)
    assert said.code == 1
    assert "no block 'study'" in said.err


def test_a_study_ends_in_a_page_and_a_failed_run_in_exit_1(hilum, store, tmp_path, config) -> None:
    path = config(
        TINY.replace(
            "{init: random}", f"{{init: random}}\n    ours: {{init: {tmp_path / 'no.safetensors'}}}"
        )
    )
    words = ["study", "--data", store, "--out", tmp_path / "s", "--config", path]
    said = hilum(*words)
    assert said.code == 1
    assert said.out.splitlines()[-1] == str(tmp_path / "s/report.html")
    assert [line.split()[0] for line in said.out.splitlines()[1:3]] == ["MoCo", "from"]
    assert "1 of 4 runs failed (ours-100-ignore-seed-0)" in said.err.splitlines()[-1]
    again = hilum(*words, "--json")
    assert again.code == 1
    content = json.loads(again.out)
    assert content["failed"] == ["ours-100-ignore-seed-0"]
    assert [model["model"] for model in content["models"]] == ["MoCo", "from scratch"]
    assert Path(content["report"]).is_file()


def test_seeds_that_failed_are_marked_in_the_table() -> None:
    row = ModelResult("MoCo", 0.1, "ignore", "main", 1e-3, 1, 3, 0.7, (0.6, 0.8))
    lines = [results_table([one]).splitlines()[1] for one in (row, replace(row, seeds=3))]
    assert ["1 of 3" in line for line in lines] == [True, False]


def test_an_error_after_the_runs_is_said_and_costs_no_page(
    hilum, phantoms, store, tmp_path, config
) -> None:
    words = ["study", "--data", store, "--out", tmp_path / "s", "--config", config(TINY)]
    assert hilum(*words).code == 0
    (tmp_path / "s/report.html").unlink()
    films = Store.open(store).catalog
    truth = shutil.copytree(phantoms, tmp_path / "truth")
    for path in films["path"].iloc[Split.load(store).rows(films, "test")]:
        (truth / "masks" / path).with_suffix(".png").write_bytes(b"no picture")
    said = hilum(*words, "--annotations", truth)
    assert said.code == 1
    assert "the page lacks where the models look: " in said.err.splitlines()[-1]
    assert said.out.splitlines()[-1] == str(tmp_path / "s/report.html")
    assert "Not worked out" in (tmp_path / "s/report.html").read_text("utf-8")
    assert not (tmp_path / "s/localisation.json").exists()
    mended = hilum(*words, "--annotations", phantoms)
    assert (mended.code, (tmp_path / "s/localisation.json").exists()) == (0, True)
    assert "Not worked out" not in (tmp_path / "s/report.html").read_text("utf-8")
