"""Defaults of options within options survive when one of them is given."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

import pytest

from hilum.augment.crops import CropRecipe
from hilum.cli.app import build_app
from hilum.cli.terminal.defaults import spelled_out
from hilum.methods import METHODS, load_method
from hilum.workflows.evaluate.options import EvaluateOptions, ProbeOptions
from hilum.workflows.train.options import FinetuneOptions, PretrainOptions

OTHER_CROPS = {
    "min_scale": 0.11,
    "max_scale": 0.97,
    "aspect": 1.7,
    "flip": 0.41,
    "rotation": 6.5,
    "brightness": 0.31,
    "contrast": 0.32,
    "gamma": 0.33,
    "blur": 0.34,
    "blur_sigma_min": 0.35,
    "blur_sigma_max": 2.5,
    "noise": 0.036,
    "cutout": 0.37,
    "cutout_side": 0.38,
}
"""A value that no preset has, for each option of a recipe."""


@dataclass(frozen=True)
class Inner:
    blur: float = 0.0
    flip: float = 0.0
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outer:
    size: int = 3
    inner: Inner = Inner(blur=0.5, names={"a": "b"})


@dataclass(frozen=True)
class Flat:
    size: int = 3


def parsed(*words: str) -> dict[str, object]:
    return build_app(words).parse_args(list(words))[1].arguments


def test_nested_class_takes_the_instance_as_its_defaults():
    spelled = spelled_out(Outer)
    inner = spelled().inner
    assert isinstance(spelled(), Outer)
    assert isinstance(inner, Inner)
    assert (type(inner)(flip=1.0).blur, type(inner)(flip=1.0).names) == (0.5, {"a": "b"})


def test_class_without_nested_options_stays_itself():
    assert spelled_out(Flat) is Flat


@pytest.mark.parametrize("method", METHODS)
def test_every_crop_option_of_every_method_can_be_given_and_leaves_the_others(method):
    line = ("pretrain", method, "--data", "a", "--out", "b")
    usual = load_method(method).Options()
    recipes = [
        entry.name for entry in fields(usual) if isinstance(getattr(usual, entry.name), CropRecipe)
    ]
    assert "crops" in recipes
    for recipe in recipes:
        before = getattr(usual, recipe).to_json()
        for name, value in OTHER_CROPS.items():
            after = getattr(
                parsed(*line, f"--method.{recipe}.{name}", str(value))["method"], recipe
            ).to_json()
            assert after == {**before, name: value}, (recipe, name)


def test_no_crop_option_is_forgotten_above():
    assert OTHER_CROPS.keys() == {entry.name for entry in fields(CropRecipe)}


@pytest.mark.parametrize(
    "options", [EvaluateOptions, FinetuneOptions, PretrainOptions, ProbeOptions]
)
def test_nested_defaults_are_those_of_their_class(options):
    """Else the parser, which knows the class alone, would silently change the others when one is given."""
    assert spelled_out(options) is options or all(
        entry.default_factory() == type(entry.default_factory())()
        for entry in fields(options)
        if callable(entry.default_factory)
    )


def test_several_values_and_findings_with_spaces():
    line = [
        "finetune",
        "--data",
        "a",
        "b",
        "--out",
        "c",
        "--labels.per-finding.Pleural Effusion",
        "ones",
    ]
    options = parsed(*line)["options"]
    assert options.data == (Path("a"), Path("b"))
    assert options.labels.per_finding == {"Pleural Effusion": "ones"}


def test_switches_that_are_on_can_be_turned_off():
    line = ["finetune", "--data", "a", "--out", "c", "--train.no-channels_last"]
    assert parsed(*line)["options"].train.channels_last is False
