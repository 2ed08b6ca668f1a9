"""Options that were renamed: the old name answers with the new one, on the command line and in a config."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from hilum.cli.app import build_app
from hilum.options import RENAMED
from hilum.training.monitor_options import MonitorOptions

MOCO = "pretrain moco --data s --out o"
LINES = {
    "pretrain": MOCO,
    "finetune": "finetune --data s --out o",
    "probe": "probe random --data s",
    "evaluate": "evaluate run --data s",
    "card": "card s --out o",
    "study": "study --data s --out o",
}
VALUES = {"draw": "1", "truth": "masks", "hints": "5", "tensorboard": "true"}
ON_THE_LINE = [
    *(
        ("pretrain", f"--watch.{entry.name.replace('_', '-')}", f"--monitor.{entry.name.replace('_', '-')}")
        for entry in fields(MonitorOptions)
    ),
    ("pretrain", "--watch.probe_films", "--monitor.probe-films"),
    ("pretrain", "--watch.no-tensorboard", "--monitor.no-tensorboard"),
    ("finetune", "--draw", "--subset-seed"),
    ("probe", "--draw", "--subset-seed"),
    ("evaluate", "--drop-seen", "--exclude-training-images"),
    ("evaluate", "--drop_seen", "--exclude-training-images"),
    ("evaluate", "--no-drop-seen", "--no-exclude-training-images"),
    ("card", "--truth", "--annotations"),
    ("card", "--hints", "--label-issues"),
    ("study", "--truth", "--annotations"),
]  # fmt: skip
IN_A_FILE = [
    ("pretrain", "{watch: {every: 2}}", "pretrain.watch", "monitor"),
    ("pretrain", "{moco: {watch: {films: 8}}}", "pretrain.moco.watch", "moco.monitor"),
    ("finetune", "{draw: 1}", "finetune.draw", "subset_seed"),
    ("probe", "{draw: 1}", "probe.draw", "subset_seed"),
    ("evaluate", "{drop_seen: true}", "evaluate.drop_seen", "exclude_training_images"),
    ("card", "{truth: [masks]}", "card.truth", "annotations"),
    ("card", "{hints: 5}", "card.hints", "label_issues"),
    ("study", "{truth: [masks]}", "study.truth", "annotations"),
    (
        "study",
        "{models: {a: {init: random}, b: {grow: a}}}",
        "study.models.b.grow",
        "models.b.self_train",
    ),
    ("study", "{pretrain: {watch: {every: 2}}}", "study.pretrain.watch", "pretrain.monitor"),
    (
        "study",
        "{pretrain: {moco: {watch: {every: 2}}}}",
        "study.pretrain.moco.watch",
        "pretrain.moco.monitor",
    ),
]


@pytest.mark.parametrize(("command", "old", "new"), ON_THE_LINE)
@pytest.mark.parametrize("form", ["apart", "joined"])
def test_an_old_option_answers_with_its_new_name(hilum, command, old, new, form) -> None:
    value = VALUES.get(old.removeprefix("--").rpartition(".")[2], "2")
    words = [f"{old}={value}"] if form == "joined" else [old, value]
    if form == "apart" and ("seen" in old or "tensorboard" in old):
        words = [old]
    answer = hilum(*LINES[command].split(), *words)
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert f"{old} is called {new} now. See hilum {command}" in answer.err


@pytest.mark.parametrize(("command", "block", "old", "new"), IN_A_FILE)
def test_an_old_key_of_a_config_answers_the_same_way(
    hilum, tmp_path: Path, command, block, old, new
) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(f"{command}: {block}\n", encoding="utf-8")
    answer = hilum(*LINES[command].split(), "--config", path)
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert f"{path} has the key {old}, which is called {new} now." in answer.err


def test_every_renamed_option_is_tried_above() -> None:
    tried = {(command, old.removeprefix(f"{command}.")) for command, _, old, _ in IN_A_FILE}
    for command, table in RENAMED.items():
        for old in table:
            named = {old, old.replace("*", "moco"), old.replace("*", "b")}
            assert tried & {(command, name) for name in named}, (command, old)


@pytest.mark.parametrize("command", RENAMED)
def test_new_names_are_options_and_old_ones_are_none(command: str) -> None:
    words = LINES[command].split()
    app: Any = build_app(words)
    for word in words[: 2 if command == "pretrain" else 1]:
        app = app[word]
    names = {name for entry in app.assemble_argument_collection() for name in entry.names}
    for old, new in RENAMED[command].items():
        if "." not in new:
            assert f"--{new.replace('_', '-')}" in names
            assert f"--{old.replace('_', '-')}" not in names


@pytest.mark.parametrize("form", ["--train.batch-size", "--train.batch_size"])
def test_dashes_and_underscores_are_one_option(form: str) -> None:
    words = [*LINES["finetune"].split(), form, "4"]
    assert build_app(words).parse_args(words)[1].arguments["options"].train.batch_size == 4
