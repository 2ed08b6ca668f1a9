"""A usage mistake as one line: what, the value, what is allowed, where to read more."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, get_args, get_origin

from cyclopts import CycloptsError, Token
from cyclopts.annotations import get_hint_name
from cyclopts.exceptions import (
    CoercionError,
    ConsumeMultipleError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from hilum.cli.commands import COMMANDS, FAMILIES, family_members
from hilum.errors import did_you_mean
from hilum.options import new_name


def usage_line(error: CycloptsError, words: Sequence[str]) -> str:
    """Return the line for a mistake that cyclopts found."""
    command = command_of(words)
    what = _what(error)
    if isinstance(error, UnknownOptionError) and error.token.source in ("", "cli"):
        what = _renamed_option(error, words) or what
    return f"{command}: {what} See {command} --help."


def command_of(words: Sequence[str]) -> str:
    """Return the command that words call: ``hilum pretrain moco``, ``hilum`` when they name none."""
    if not words or words[0] not in COMMANDS:
        return "hilum"
    return " ".join(
        ["hilum", words[0], *(word for word in words[1:2] if word in family_members(words[0]))]
    )


def _what(error: CycloptsError) -> str:
    match error:
        case UnknownCommandError():
            return _unknown_command(error)
        case UnknownOptionError():
            return _unknown_option(error)
        case CoercionError() if error.msg is None and error.token is not None:
            return _wrong_value(error, error.token)
        case ConsumeMultipleError():
            return f"{_name(error)} needs a value."
        case RepeatArgumentError() if error.msg is None:
            return f"{error.token.keyword} is given twice: give it once."
        case MissingArgumentError():
            given = error.keyword or (error.argument is not None and error.argument.tokens)
            return f"{_name(error)} needs a value." if given else f"{_name(error)} is missing."
        case UnusedCliTokensError() if error.unused_tokens:
            return f"unexpected argument {error.unused_tokens[0]!r}."
        case _:
            return _one_line(str(error))


def _unknown_command(error: UnknownCommandError) -> str:
    """Name the entries of the table; asking cyclopts would import every one."""
    word = (error.unused_tokens or ["?"])[0]
    above = error.app.name[0] if error.app else "hilum"
    kind = FAMILIES[above][0] if above in FAMILIES else "command"
    names = list(family_members(above)) if above in FAMILIES else list(COMMANDS)
    if word.startswith("-"):
        return f"the {kind} comes before {word}: {', '.join(names)}.{_near(word, ['--help', '--version'])}"
    return f"unknown {kind} {word!r}: allowed are {', '.join(names)}.{did_you_mean(word, names)}"


def _renamed_option(error: UnknownOptionError, words: Sequence[str]) -> str | None:
    """Return the line for an option that an older version had by another name, None for any other."""
    old = (error.token.keyword or str(error.token.value)).partition("=")[0]
    name, off = re.subn(r"(^|\.)no-", r"\1", old.removeprefix("--").replace("_", "-"))
    keys = tuple(name.replace("-", "_").split("."))
    new = new_name(words[0], keys)
    if new is None:
        return None
    *above, last = (key.replace("_", "-") for key in new)
    return f"{old} is called --{'.'.join([*above, 'no-' * bool(off) + last])} now."


def _unknown_option(error: UnknownOptionError) -> str:
    known = [
        name for argument in error.argument_collection if argument.parse for name in argument.names
    ]
    given = error.token.keyword or error.token.value
    if error.token.source in ("", "cli"):
        return f"unknown option {given}.{_near(given.partition('=')[0], known)}"
    keys = [name[2:].replace("-", "_") for name in known]
    return f"{error.token.source} has the unknown key {given}.{_near(given, keys)}"


def _wrong_value(error: CoercionError, token: Token) -> str:
    name = _name(error) if token.keyword is None else token.keyword
    source = "" if token.source in ("", "cli") else f" in {token.source}"
    return f"{name}{source} is {token.value!r}: allowed is {_allowed(error.target_type)}."


def _allowed(hint: Any) -> str:
    if get_origin(hint) is not None and all(isinstance(value, str) for value in get_args(hint)):
        return ", ".join(get_args(hint))
    if get_origin(hint) is dict:
        return "a value by name, as in --labels.per-finding.Edema ones"
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(
        hint
    ) or get_hint_name(hint)


def _name(error: CycloptsError) -> str:
    if isinstance(error, MissingArgumentError) and error.keyword:
        return error.keyword
    if error.argument is None:
        return "an option"
    positional = error.argument.index is not None
    return error.argument.name.lstrip("-").upper() if positional else error.argument.name


def _near(given: str, known: Iterable[str]) -> str:
    return did_you_mean(given, known).replace("'", "")


def _one_line(text: str) -> str:
    return " ".join(text.split())
