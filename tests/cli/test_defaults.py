"""Defaults of options within options survive when one of them is given."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

import pytest

from hilum.cli.app import build_app
from hilum.cli.defaults import spelled_out
from hilum.workflows.options import EvaluateOptions, FinetuneOptions, PretrainOptions, ProbeOptions


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


def test_one_crop_option_leaves_the_others_of_the_recipe():
    from hilum.methods.moco import MoCoOptions

    method = parsed("pretrain", "moco", "--data", "a", "--out", "b", "--method.crops.blur", "0.9")["method"]
    usual = MoCoOptions().crops
    changed = {entry.name for entry in fields(usual) if getattr(method.crops, entry.name) != getattr(usual, entry.name)}
    assert changed == {"blur"}


@pytest.mark.parametrize("options", [EvaluateOptions, FinetuneOptions, PretrainOptions, ProbeOptions])
def test_nested_defaults_are_those_of_their_class(options):
    """Else the parser, which knows the class alone, would silently change the others when one is given."""
    assert spelled_out(options) is options or all(
        entry.default_factory() == type(entry.default_factory())()
        for entry in fields(options)
        if callable(entry.default_factory)
    )


def test_several_values_and_findings_with_spaces():
    line = ["finetune", "--data", "a", "b", "--out", "c", "--labels.per_finding.Pleural Effusion", "ones"]
    options = parsed(*line)["options"]
    assert options.data == (Path("a"), Path("b"))
    assert options.labels.per_finding == {"Pleural Effusion": "ones"}


def test_switches_that_are_on_can_be_turned_off():
    line = ["finetune", "--data", "a", "--out", "c", "--train.no-channels_last"]
    assert parsed(*line)["options"].train.channels_last is False
