"""The help pages: golden texts where they are stable, and what every one must have.

``HILUM_UPDATE_GOLDEN=1 pytest tests/cli/test_help.py`` writes the golden texts anew; look at the
difference before committing it.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from hilum.cli.app import build_app
from hilum.cli.commands import COMMANDS, FAMILIES, family_members
from hilum.phantoms.options import PhantomOptions
from hilum.workflows.card.options import CardOptions
from hilum.workflows.evaluate.options import EvaluateOptions, ProbeOptions
from hilum.workflows.inference.options import EmbedOptions
from hilum.workflows.prepare.split_options import SplitOptions
from hilum.workflows.pseudo_label.options import PseudoLabelOptions
from hilum.workflows.study.options import StudyOptions
from hilum.workflows.train.options import FinetuneOptions, PretrainOptions

GOLDEN = Path(__file__).parent / "golden"
PAGES = {
    "hilum": ["--help"],
    "phantom": ["phantom", "--help"],
    "prepare": ["prepare", "--help"],
    "split": ["split", "--help"],
    "pretrain": ["pretrain", "--help"],
    "predict": ["predict", "--help"],
}
RESEARCH = "Research use only, not a medical device."
OPTIONS = {
    "phantom": PhantomOptions,
    "split": SplitOptions,
    "finetune": FinetuneOptions,
    "pseudo-label": PseudoLabelOptions,
    "evaluate": EvaluateOptions,
    "probe": ProbeOptions,
    "embed": EmbedOptions,
    "card": CardOptions,
    "study": StudyOptions,
}


def every_command() -> list[list[str]]:
    members = [[command, member] for command in FAMILIES for member in family_members(command)]
    return [[command] for command in COMMANDS] + members


def option_names(options: Any, above: str = "") -> list[str]:
    """Return every option's name, down the nested dataclasses' default instances."""
    names = []
    for entry in fields(options):
        value = getattr(options, entry.name, None)
        if value is None and callable(entry.default_factory):
            value = entry.default_factory()
        names += (
            option_names(value, f"{above}{entry.name}.")
            if is_dataclass(value)
            else [above + entry.name]
        )
    return names


def examples_on(page: str) -> list[str]:
    """Return a page's examples, one a line; a long one goes on after a backslash."""
    return page.partition("\nExamples:\n")[2].replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("words", [["predict"], ["explain"]], ids=" ".join)
def test_several_films_show_in_the_usage(hilum, words):
    usage = hilum(*words, "--help").out.partition("\n\n")[0]
    assert usage.split()[-1] == "FILM..."


def test_the_folder_sources_example_names_the_tables_columns(hilum):
    page = hilum("prepare", "folder", "--help").out
    example = examples_on(page)[0]
    for option in ("--csv", "--path-column", "--patient-column", "--finding-columns"):
        assert f" {option} " in example


@pytest.mark.parametrize("page", PAGES)
def test_page_is_the_golden_text(hilum, page):
    said = hilum(*PAGES[page])
    golden = GOLDEN / f"{page}.txt"
    if os.environ.get("HILUM_UPDATE_GOLDEN") == "1":
        golden.write_text(said.out, encoding="utf-8")
    assert (said.code, said.err) == (0, "")
    assert said.out == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_page_has_usage_and_a_runnable_example_and_fits(hilum, words):
    said = hilum(*words, "--help")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"Usage: hilum {' '.join(words)} ")
    examples = examples_on(said.out)
    assert examples
    assert all(f"{line} ".startswith(f"  hilum {words[0]} ") for line in examples)
    assert max(map(len, said.out.splitlines())) <= 80


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_examples_are_understood(hilum, words):
    for line in examples_on(hilum(*words, "--help").out):
        example = shlex.split(line)[1:]
        call, _, _ = build_app(example).parse_args(example)
        assert call.__module__ == f"hilum.cli.{words[0].replace('-', '_')}"


@pytest.mark.parametrize("command", OPTIONS)
def test_every_option_is_on_the_page(hilum, command):
    page = hilum(command, "--help").out
    for name in option_names(OPTIONS[command]):
        name = name.replace("_", "-")
        above, _, last = name.rpartition(".")
        spelled = [
            f"--{name} ",
            f"--{name}\n",
            f"--{name}.NAME",
            f"--{above}.[no-]{last}",
            f"--[no-]{name}",
        ]
        assert any(text in page for text in spelled), name


def test_a_method_shares_no_option_name_with_its_command():
    from hilum.methods import METHODS, load_method

    common = {entry.name for entry in fields(PretrainOptions)} | {"config", "json", "traceback"}
    for name in METHODS:
        assert not common & {entry.name for entry in fields(load_method(name).Options)}


def test_a_source_shares_no_option_name_with_its_command():
    from hilum.sources import SOURCES, load_source
    from hilum.workflows.prepare.prepare import PrepareOptions

    common = {entry.name for entry in fields(PrepareOptions)} | {
        "root",
        "out",
        "config",
        "json",
        "traceback",
    }
    for name in SOURCES:
        assert not common & {entry.name for entry in fields(load_source(name).Options)}


def test_research_use_is_said_where_results_are_spoken_of(hilum):
    for words in (
        ["--help"],
        ["pretrain", "--help"],
        ["finetune", "--help"],
        ["evaluate", "--help"],
    ):
        assert RESEARCH in " ".join(hilum(*words).out.split())


def test_help_says_once_which_form_names_have(hilum):
    page = " ".join(hilum("finetune", "--help").out.split())
    assert page.count("underscores") == 2
    assert "Its keys have underscores (batch_size)" in page
    assert "the command line has dashes (--train.batch-size, underscores are accepted too)" in page
    assert "--train.batch_size" not in page


def test_version(hilum):
    said = hilum("--version")
    assert said.code == 0
    assert said.out.startswith("hilum 0.")


def test_no_command_gives_help(hilum):
    assert hilum().out == hilum("--help").out
