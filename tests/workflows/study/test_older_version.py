"""What version 0.1.0 wrote, with the options' old names, is read: studies go on, runs and cards are known again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from heard import Heard
from study_plans import tiny_plan, weights

from hilum.options import RENAMED, old_names, with_new_names
from hilum.training.options_file import difference
from hilum.workflows.card.card import card
from hilum.workflows.card.options import CardOptions
from hilum.workflows.pseudo_label.starting_run import start_run
from hilum.workflows.study.plan import StudyModel, StudyPlan
from hilum.workflows.study.record import read_study
from hilum.workflows.study.study import study
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions

MODELS = {
    "MoCo": StudyModel(pretrain="moco"),
    "more": StudyModel(self_train="MoCo"),
    "from scratch": StudyModel(init="random"),
}
FINETUNE_0_1_0 = """
finetune:
  data: [store]
  init: random
  backbone: resnet10t
  fraction: 0.1
  draw: 3
  unlabelled: []
  pseudo_labels: null
  freeze: false
  sampler: uniform
  calibrate: true
  patience: 0
  devices: 1
  labels: {uncertain: ignore, unstated: absent, per_finding: {}, smooth: 0.7}
  loss: {name: bce, gamma: 2.0, alpha: 0.25, positive_weight: none, beta: 0.0}
  self_train: {precision: 0.9, absent_precision: 0.95, level: 0.95, soft: false, abstain: true, cap: 2.0, weight: 1.0}
  train:
    {epochs: 10, batch_size: 16, size: null, optimiser: adamw, lr: 0.001, weight_decay: 0.01, momentum: 0.9,
     schedule: onecycle, warmup: 0.3, clip: 1.0, accumulate: 1, precision: '32', compile: false, channels_last: true,
     seed: 0, log_every: 10, checkpoint_every: 0, accelerator: auto}
record:
  hilum: 0.1.0
  processes: 1
  data:
  - {source: phantoms-5151a957, films: 1800, fingerprint: FINGERPRINT, split: SPLIT}
"""
"""As that version wrote it, with its store's hashes left out."""


def as_of_0_1_0(command: str, block: Any, above: tuple[str, ...] = ()) -> Any:
    """Return a block with the names that version 0.1.0 gave: the inverse of ``with_new_names``."""
    if not isinstance(block, dict):
        return block
    former = {}
    for key, value in block.items():
        name = next((old for old in _old_keys(command) if _now(command, above, old) == key), key)
        former[name] = as_of_0_1_0(command, value, (*above, name))
    return former


def _old_keys(command: str) -> Iterator[str]:
    return (old.rpartition(".")[2] for old in RENAMED.get(command, {}))


def _now(command: str, above: tuple[str, ...], old: str) -> str | None:
    block: Any = {old: None}
    for key in reversed(above):
        block = {key: block}
    names = [new for _, new in old_names(command, block)]
    return names[0][-1] if names else None


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    if path.suffix == ".json":
        content = change(json.loads(path.read_text("utf-8")))
        content.pop("sha256", None)
        path.write_text(json.dumps(content), "utf-8")
    else:
        path.write_text(yaml.safe_dump(change(yaml.safe_load(path.read_text("utf-8")))), "utf-8")


def every_command(content: dict[str, Any]) -> dict[str, Any]:
    return {name: as_of_0_1_0(name, block) for name, block in content.items()}


@pytest.fixture(scope="module")
def make(tiny_store: Path) -> Callable[..., StudyPlan]:
    return partial(tiny_plan, tiny_store, models=MODELS)


@pytest.fixture(scope="module")
def old_study(make: Callable[..., StudyPlan], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study whose files have the old names."""
    out = tmp_path_factory.mktemp("old") / "study"
    study(make(out))
    for path in (out / "study.yaml", *out.glob("runs/*/options.yaml")):
        rewrite(path, every_command)
    rewrite(out / "study.json", lambda it: {**it, "plan": as_of_0_1_0("study", it["plan"])})
    return out


def test_the_files_have_the_old_names(old_study: Path) -> None:
    plan = yaml.safe_load((old_study / "study.yaml").read_text("utf-8"))["study"]
    assert plan["models"]["more"]["grow"] == "MoCo"
    assert "truth" in plan
    assert "watch" in plan["pretrain"]["moco"]
    texts = [path.read_text("utf-8") for path in old_study.glob("runs/*/options.yaml")]
    assert any("draw:" in text for text in texts)
    assert any("watch:" in text for text in texts)
    assert not any("subset_seed" in text or "monitor:" in text for text in texts)


def test_a_study_goes_on_and_repeats_nothing(
    old_study: Path, make: Callable[..., StudyPlan], tmp_path: Path
) -> None:
    own = shutil.copytree(old_study, tmp_path / "study")
    before = weights(own)
    assert study(make(own)).already_done
    assert weights(own) == before
    assert "self_train: MoCo" in (own / "study.yaml").read_text("utf-8")


def test_a_failed_run_of_it_is_done_again_and_the_rest_known(
    old_study: Path, make: Callable[..., StudyPlan], tmp_path: Path
) -> None:
    own, listener = shutil.copytree(old_study, tmp_path / "study"), Heard()
    record = read_study(own)
    assert record.plan["models"]["more"]["self_train"] == "MoCo"
    assert record.plan["annotations"] == []
    cells = json.loads((own / "study.json").read_text("utf-8"))
    assert "sha256" not in cells
    for cell in cells["cells"]:
        cell["state"] = "waiting"
    (own / "study.json").write_text(json.dumps({**cells, "finished": False}), "utf-8")
    before = weights(own)
    result = study(make(own), listener)
    assert not result.already_done
    assert not result.record.failed
    assert weights(own) == before


def test_rounds_of_pseudo_labels_begin_with_an_old_run(old_study: Path, tiny_store: Path) -> None:
    (run,) = old_study.glob("runs/moco-50-*")
    assert start_run(run, [tiny_store]).options.subset_seed == 0


def test_the_options_of_0_1_0_are_those_of_today(tmp_path: Path, tiny_store: Path) -> None:
    block = with_new_names("finetune", yaml.safe_load(FINETUNE_0_1_0)["finetune"])
    assert block["subset_seed"] == 3
    assert "draw" not in block
    known = {**vars(FinetuneOptions(data=(tiny_store,), out=tmp_path))}
    assert block.keys() <= known.keys()
    assert block["train"].keys() <= vars(FinetuneTrainOptions()).keys()


def test_an_option_that_0_1_0_did_not_have_makes_no_other_run() -> None:
    old = {"finetune": {"train": {"epochs": 1}}}
    now = {"finetune": {"train": {"epochs": 1, "min_steps": 60}}}
    assert difference(old, now) == ""
    assert "min_steps" in difference({"finetune": {"train": {"min_steps": 0, "epochs": 1}}}, now)
    assert "size" in difference(old, {"finetune": {"train": {"epochs": 1, "size": 60}}})


def test_an_old_run_is_known_to_be_done(tiny_store: Path, tmp_path: Path) -> None:
    train = FinetuneTrainOptions(epochs=1, batch_size=16, accelerator="cpu")
    options = FinetuneOptions(
        data=(tiny_store,), out=tmp_path / "run", backbone="test_resnet", train=train
    )
    finetune(options)
    rewrite(tmp_path / "run/options.yaml", every_command)
    listener = Heard()
    finetune(options, listener)
    assert any("already done" in note for note in listener.notes)


def test_an_old_card_is_known_again(tiny_store: Path, tmp_path: Path) -> None:
    options = CardOptions(out=tmp_path / "card", min_positives=2, resamples=20)
    card([tiny_store], options)

    def older(content: dict[str, Any]) -> dict[str, Any]:
        made_of = content["made_of"]
        made_of["options"] = as_of_0_1_0("card", made_of["options"])
        assert {"hints", "truth"} <= made_of["options"].keys()
        return content

    rewrite(tmp_path / "card/card.json", older)
    assert card([tiny_store], options).already_done
