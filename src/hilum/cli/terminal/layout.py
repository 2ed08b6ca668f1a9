"""How a help page looks: plain, aligned columns, options of one group together."""

import re
import textwrap
from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any, get_origin

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

WIDEST = 100
"""Columns at most: longer lines are hard to read."""
UNSAID = (None, "", '""', "{}", "()", "[]", "True", "False")
"""Defaults that are not shown."""
LABEL = 30
"""Columns for names at most; a longer name has its text on the next line."""


class PageFormatter:
    """Prints usage, description and panels as plain text."""

    def render_usage(self, console: "Console", options: "ConsoleOptions", usage: Any) -> None:
        """Print the usage line."""
        if usage:
            line = f"Usage: {_plain(usage).removeprefix('Usage: ')}"
            line = re.sub(
                r"\bFILM$", "FILM...", line
            )  # cyclopts does not show that several may be given
            _print(console, textwrap.fill(line, _width(options), subsequent_indent=" " * 9))

    def render_description(
        self, console: "Console", options: "ConsoleOptions", description: Any
    ) -> None:
        """Print what the command does."""
        text = _plain(description)
        if text:
            paragraphs = [textwrap.fill(part, _width(options)) for part in text.split("\n\n")]
            _print(console, "\n" + "\n\n".join(paragraphs))

    def __call__(self, console: "Console", options: "ConsoleOptions", panel: "HelpPanel") -> None:
        """Print one panel: commands, or options in sections by the word before their dot."""
        label = min(LABEL, max((len(_label(entry)) for entry in panel.entries), default=0) + 4)
        entries = sorted(panel.entries, key=lambda entry: not entry.required)
        for section, rows in groupby(entries, _section):
            title = _plain(panel.title).replace("Parameters", "Options")
            _print(console, f"\n{title}, {section}:" if section else f"\n{title}:")
            for line in _rows(rows, label, _width(options)):
                _print(console, line)


def _rows(entries: "Iterable[HelpEntry]", column: int, width: int) -> Iterable[str]:
    for entry in entries:
        head = f"  {_label(entry)}".ljust(column)
        if not head.endswith("  "):
            yield head.rstrip()
            head = " " * column
        yield textwrap.fill(
            _text(entry),
            width,
            initial_indent=head,
            subsequent_indent=" " * column,
            break_on_hyphens=False,
        )


def _label(entry: "HelpEntry") -> str:
    """Return the option's name: ``--train.[no-]name`` for a switch that is on, else without its opposite."""
    if entry.positional_label:
        return entry.positional_label
    names = [*entry.positive_names, *entry.positive_shorts]
    if get_origin(entry.type) is dict:
        return f"{names[0]}.NAME VALUE"
    if entry.default == "True" and entry.negative_names:
        return entry.negative_names[0].replace("no-", "[no-]", 1)
    return ", ".join(names) + (f" {entry.metavar}" if entry.metavar else "")


def _text(entry: "HelpEntry") -> str:
    choices = f"[{' | '.join(entry.choices)}]" if entry.choices else ""
    default = f"[default: {entry.default}]" if entry.default not in UNSAID else ""
    switch = {"True": "[on]", "False": "[off]"}.get(entry.default or "", "")
    required = "[required]" if entry.required else ""
    description = " ".join(_plain(entry.description).split())  # as its lines are joined
    parts = (description, choices, default, switch, required)
    return " ".join(part for part in parts if part)


def _section(entry: "HelpEntry") -> str:
    """Return the word before the dot of ``--train.epochs``, or nothing."""
    name = entry.positive_names[0] if entry.positive_names else ""
    return name.removeprefix("--").partition(".")[0] if "." in name else ""


def _plain(renderable: Any) -> str:
    if renderable is None:
        return ""
    text = getattr(renderable, "primary_renderable", renderable)
    return str(getattr(text, "plain", text)).strip().replace("``", "")


def _width(options: "ConsoleOptions") -> int:
    return min(options.max_width, WIDEST)


def _print(console: "Console", text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
