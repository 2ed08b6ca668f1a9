"""Options from YAML: read strictly, and by today's names where an older version wrote them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from hilum.augment.crops import CropRecipe
from hilum.errors import OptionError
from hilum.methods import METHODS, load_method
from hilum.options import (
    as_path,
    as_paths,
    new_name,
    old_names,
    plain,
    read_options,
    with_new_names,
)
from hilum.training.monitor_options import MonitorOptions
from hilum.training.options import TrainOptions
from hilum.workflows.card.options import CardOptions
from hilum.workflows.evaluate.options import MeasureOptions
from hilum.workflows.train.labelling_options import PseudoOptions


@dataclass(frozen=True)
class Inner:
    blur: float = 0.0
    flip: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Outer:
    out: Path
    size: int = 3
    fast: bool = True
    name: str | None = "x"
    limit: int | None = 5
    kind: Literal["bce", "focal"] = "bce"
    weight: Literal["none", "balanced"] | float = "none"
    rates: tuple[float, ...] = (0.1,)
    epochs: int | dict[float, int] | None = None
    by_finding: dict[str, str] = field(default_factory=dict)
    inner: Inner = Inner(blur=0.5)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise OptionError(f"--size is {self.size}: allowed is 1 or more.")


READ = [
    ("size", "12", 12),
    ("size", 12, 12),
    ("fast", "no", False),
    ("fast", False, False),
    ("name", "none", "none"),
    ("name", None, None),
    ("limit", "null", None),
    ("limit", "7", 7),
    ("kind", "focal", "focal"),
    ("weight", "balanced", "balanced"),
    ("weight", "2.5", 2.5),
    ("rates", ["1e-3", "5e-4"], (1e-3, 5e-4)),
    ("rates", "0.2", (0.2,)),
    ("epochs", "5", 5),
    ("epochs", {"0.1": "20"}, {0.1: 20}),
    ("by_finding", {"Edema": "ones"}, {"Edema": "ones"}),
    ("inner", {"flip": "1"}, Inner(blur=0.5, flip=1.0)),
    ("inner", None, Inner(blur=0.5)),
    ("out", "a/b", Path("a/b")),
]

REFUSED = [
    ({"size": "2.7"}, "my.yaml: train.size is '2.7': allowed is a whole number."),
    ({"size": True}, "my.yaml: train.size is True: allowed is a whole number."),
    ({"size": None}, "my.yaml: train.size is empty: allowed is a whole number."),
    ({"size": "0"}, "my.yaml: train: --size is 0: allowed is 1 or more."),
    ({"fast": "maybe"}, "my.yaml: train.fast is 'maybe': allowed is true or false."),
    (
        {"kind": "fokal"},
        "my.yaml: train.kind is 'fokal': allowed is bce, focal. Did you mean 'focal'?",
    ),
    ({"weight": "much"}, "train.weight is 'much': allowed is none, balanced or a number."),
    ({"limit": "many"}, "train.limit is 'many': allowed is a whole number."),
    ({"rates": ["fast"]}, "train.rates is 'fast': allowed is a number."),
    ({"epochs": "many"}, "train.epochs is 'many': allowed is a whole number or a block."),
    ({"epochs": {"half": "3"}}, "train.epochs: the key is 'half': allowed is a number."),
    ({"epochs": {"0.5": "3.5"}}, "train.epochs.0.5 is '3.5': allowed is a whole number."),
    ({"by_finding": "ones"}, "train.by_finding is 'ones': allowed is a block of options."),
    ({"inner": {"blurr": 1}}, "train.inner has the unknown key blurr. Did you mean blur?"),
    ({"inner": {"blur": "x"}}, "my.yaml: train.inner.blur is 'x': allowed is a number."),
    ({"siez": "3"}, "my.yaml: train has the unknown key siez. Did you mean size?"),
]


@pytest.mark.parametrize(("name", "value", "expected"), READ)
def test_a_value_is_read_by_its_fields_type(name: str, value: Any, expected: Any) -> None:
    read = getattr(read_options(Outer, {"out": "o", name: value}, "my.yaml"), name)
    assert (read, type(read)) == (expected, type(expected))


@pytest.mark.parametrize(("block", "line"), REFUSED)
def test_a_wrong_key_or_value_is_one_line(block: dict[str, Any], line: str) -> None:
    with pytest.raises(OptionError) as refused:
        read_options(Outer, {"out": "o", **block}, "my.yaml: train")
    assert line in str(refused.value)


def test_what_must_be_given_is_named() -> None:
    with pytest.raises(OptionError, match=r"my\.yaml\.out is missing: give it"):
        read_options(Outer, {}, "my.yaml")


@pytest.mark.parametrize("method", METHODS)
def test_every_methods_options_are_read_as_they_are_written(method: str) -> None:
    usual = load_method(method).Options()
    for text in (plain, _as_text):
        assert read_options(type(usual), text(_tree(usual)), "my.yaml") == usual


@pytest.mark.parametrize("method", METHODS)
def test_one_crop_option_leaves_the_methods_others(method: str) -> None:
    usual = load_method(method).Options()
    for entry in fields(usual):
        recipe = getattr(usual, entry.name)
        if isinstance(recipe, CropRecipe):
            read = read_options(type(usual), {entry.name: {"noise": "0.123"}}, "my.yaml")
            before = recipe.to_json()
            assert getattr(read, entry.name).to_json() == {**before, "noise": 0.123}


SMALL: dict[str, Any] = {
    "--train.batch-size": lambda: TrainOptions(batch_size=0),
    "--train.weight-decay": lambda: TrainOptions(weight_decay=float("nan")),
    "--monitor.probe-films": lambda: MonitorOptions(probe_films=-1),
    "--absent-precision": lambda: PseudoOptions(absent_precision=2),
    "--min-positives": lambda: CardOptions(out=Path(), min_positives=0),
    "--label-issues": lambda: CardOptions(out=Path(), label_issues=-1),
    "--subgroup-patients": lambda: MeasureOptions(subgroup_patients=0),
    **{
        f"--method.embedding-size of {name}": partial(load_method(name).Options, embedding_size=0)
        for name in METHODS
    },
}


@pytest.mark.parametrize("option", SMALL)
def test_error_lines_name_options_with_dashes(option: str) -> None:
    with pytest.raises(OptionError) as refused:
        SMALL[option]()
    assert str(refused.value).startswith(f"{option.partition(' ')[0]} is ")


def test_what_lies_below_a_renamed_key_moves_with_it() -> None:
    old = {"moco": {"watch": {"every": 2}, "train": {"lr": 0.1}}, "watch": {"films": 9}}
    new = {"moco": {"monitor": {"every": 2}, "train": {"lr": 0.1}}, "monitor": {"films": 9}}
    assert with_new_names("pretrain", old) == new
    assert with_new_names("pretrain", new) == new
    assert list(old_names("pretrain", new)) == []
    assert new_name("study", ("models", "a.b", "grow")) == ("models", "a.b", "self_train")
    assert new_name("finetune", ("watch",)) is None


def _tree(options: Any) -> dict[str, Any]:
    return {
        entry.name: value.to_json() if isinstance(value, CropRecipe) else value
        for entry in fields(options)
        for value in [getattr(options, entry.name)]
    }


def _as_text(block: Any) -> Any:
    if isinstance(block, dict):
        return {key: _as_text(value) for key, value in block.items()}
    if isinstance(block, tuple | list):
        return [_as_text(value) for value in block]
    return None if block is None else str(block).lower() if isinstance(block, bool) else str(block)


@pytest.mark.parametrize("path", ["a\0b", Path("a\0b"), "\0"])
def test_a_path_with_a_nul_is_refused(path: str | Path) -> None:
    for take in (as_path, as_paths, lambda _, value: CardOptions(out=value)):
        with pytest.raises(OptionError, match="a path has no NUL character"):
            take("data", path)
