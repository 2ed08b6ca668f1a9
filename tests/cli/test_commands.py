"""The table of commands and the modules agree, and listing them imports nothing heavy."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from cyclopts import App

import hilum.cli
from hilum.cli.commands import COMMANDS, FAMILIES
from hilum.workflows.prepare import split_options

FRAME = {
    "app",
    "commands",
    "configs",
    "console",
    "defaults",
    "evaluation_details",
    "layout",
    "mistakes",
    "outcome",
    "results",
    "shared",
    "tables",
}
"""Modules of the command line that are no command."""
HEAVY = {
    "torch",
    "timm",
    "pandas",
    "cv2",
    "lightning_fabric",
    "pyarrow",
    "scipy",
    "sklearn",
    "matplotlib",
    "torchvision",
}


def test_every_command_has_its_module_and_every_module_its_command():
    modules = (
        {path.stem for path in Path(hilum.cli.__file__).parent.glob("*.py")} - {"__init__"} - FRAME
    )
    assert {
        target.partition(":")[0].rpartition(".")[2] for target, _ in COMMANDS.values()
    } == modules


@pytest.mark.parametrize("name", COMMANDS)
def test_import_string_leads_to_a_command_with_one_line_of_help(name):
    target, line = COMMANDS[name]
    module, _, attribute = target.partition(":")
    command = getattr(importlib.import_module(module), attribute)
    assert isinstance(command, App) == (name in FAMILIES)
    assert line.endswith(".")
    assert "\n" not in line
    assert len(line) < 90


CALLS = [
    ["--help"],
    ["--version"],
    ["finetun"],
    ["pretrain", "mocco"],
    ["prepare", "chexprt"],
    ["finetune", "--dat", "x"],
]


@pytest.mark.parametrize("words", [*CALLS, *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_and_unknown_names_import_nothing_heavy(words):
    code = (
        f"import sys; from hilum.cli import main; main({words!r}); print(*sys.modules, sep=chr(10))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.splitlines())


def test_split_options_say_what_the_splits_take():
    from hilum import splits

    usual = split_options.SplitOptions()
    assert (usual.test, usual.val, usual.fractions) == (
        splits.TEST_SHARE,
        splits.VAL_SHARE,
        splits.FRACTIONS,
    )
