"""Builds the command line, runs a command, and turns its outcome into an exit code and at most one line."""

import importlib
import inspect
import os
import sys
from collections.abc import Sequence
from typing import Any

from cyclopts import App

from hilum.cli.commands import ALONE, COMMANDS
from hilum.cli.configs import PARAMETER, check_and_configure
from hilum.cli.shared import RESEARCH_ONLY
from hilum.cli.terminal.layout import PageFormatter
from hilum.cli.terminal.outcome import DONE, conclude

ABOUT = f"""Hilum learns to read chest radiographs from few labels.

{RESEARCH_ONLY}"""

START = """Examples:
  hilum demo
  hilum COMMAND --help
  hilum phantom phantoms --count 2000 --size 64
  hilum prepare chexpert phantoms --out store --size 64"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 the user can mend it, 2 usage, 130 interrupted.

    70 is a fault of the program itself, 141 a closed pipe.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # warnings for developers of torch
    try:
        build_app(words)(words)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - every outcome gets its exit code here, the unknown ones too
        return conclude(error, words)
    return DONE


def build_app(words: Sequence[str]) -> App:
    """Return the command line; of the commands only the one that ``words`` names is imported."""
    app = App(
        name="hilum",
        help=ABOUT,
        help_epilogue=START,
        help_format="plaintext",
        help_formatter=PageFormatter(),
        version=version,
        config=check_and_configure,
        default_parameter=PARAMETER,
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )
    for position, (name, (target, line)) in enumerate(COMMANDS.items()):
        if words[:1] == [name]:
            alone = (ALONE[name, word] for word in words if (name, word) in ALONE)
            _add_loaded(app, name, next(alone, target), line)
        else:
            app.command(target, name=name, help=line, sort_key=position)
    return app


def version() -> str:
    """Return the installed version."""
    from importlib.metadata import version as installed

    return f"hilum {installed('hilum')}"


def _add_loaded(app: App, name: str, target: str, line: str) -> None:
    """Register a command by its own docstring, whose Examples close its help."""
    module, _, attribute = target.partition(":")
    command: Any = getattr(importlib.import_module(module), attribute)
    if isinstance(command, App):
        command.help = f"{line}\n\n{RESEARCH_ONLY}"
        app.command(command)
        return
    about, _, examples = inspect.cleandoc(command.__doc__).partition("Examples:\n")
    app.command(
        command, name=name, help=about.strip(), help_epilogue=f"Examples:\n{examples.rstrip()}"
    )
