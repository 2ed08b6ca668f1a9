"""Reads ``--config``: YAML as plain data, one block for each command; options of the command line win."""

import re
import sys
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from cyclopts import App, Argument, ArgumentCollection, CycloptsError, Parameter, Token
from cyclopts.exceptions import CoercionError, UnknownOptionError

from hilum.cli.commands import COMMANDS, family_members
from hilum.errors import OptionError, did_you_mean
from hilum.options import mapping, merged, old_names

LARGEST = 1_000_000
"""Bytes of a config file at most."""
DEEPEST = 20
"""Levels of nesting at most."""
SHIPPED = "hilum.configs"
RECORD = "record"
"""The block of a run's options.yaml that records what the run was made with; it sets no option."""
READ_BY_COMMAND = {
    "study": ("models", "pretrain", "finetune", "pseudo_label", "epochs", "policies")
}
"""Keys of a command's block that are no options of it: the command reads them itself. Those of a
study are ``hilum.workflows.study.options.PLAN_KEYS``, which help must not import."""
PARAMETER = Parameter(consume_multiple=(1, None), negative_iterable=())
"""A list takes one value or more; names have dashes, and underscores are accepted."""
WHOLE = re.compile(r"[+-]?\d[\d_]*|none|null")


def check_and_configure(
    _app: App, commands: tuple[str, ...], arguments: ArgumentCollection
) -> None:
    """Fill options that the command line leaves out from ``--config``; cyclopts calls this before it binds.

    Raises:
        UnknownOptionError: The file's block has a key that the command has no option for.
        CoercionError: A whole number is given with a fraction, which cyclopts would round.
        CycloptsError: The file has an option's name of an older version.
        OptionError: There is no such file, or it is not a config.
    """
    given = next((argument.tokens for argument in arguments if argument.name == "--config"), [])
    if given and given[0].value:
        source = given[0].value
        config = read_config(source)
        block = block_of(config, commands, source)
        if commands[0] not in config:
            print(
                f"{source} has no block for {commands[0]!r}: it changes nothing here",
                file=sys.stderr,
            )
        for old, new in old_names(commands[0], config.get(commands[0])):
            raise CycloptsError(
                msg=f"{source} has the key {'.'.join((commands[0], *old))}, which is called "
                f"{'.'.join(new)} now."
            )
        own = READ_BY_COMMAND.get(commands[0], ())
        for keys, value in _leaves(block):
            if keys[0] not in own:
                _fill(arguments, keys, value, source)
    for argument in arguments:
        _refuse_rounding(argument)
        _refuse_value_of_a_group(argument)


def read_config(name: str) -> dict[str, Any]:
    """Return a config by shipped name or path: mappings, lists, strings and None only.

    Values stay text, so that they mean in the file what they mean on the command line.

    Raises:
        OptionError: There is no such config, it is no YAML, or it holds more than plain data.
    """
    text = _text(name)
    try:
        _refuse_more_than_data(text, name)
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise OptionError(f"{name} is not a config: {_short(error)}.") from error
    config = {} if node is None else _plain(node, name)
    if not isinstance(config, dict):
        raise OptionError(
            f"{name} is not a config: allowed is one block a command, such as 'finetune:'."
        )
    return config


def shipped_configs() -> dict[str, Any]:
    """Return the configs that come with the package, by name."""
    configs = (entry for entry in files(SHIPPED).iterdir() if entry.name.endswith(".yaml"))
    return {
        entry.name.removesuffix(".yaml"): entry
        for entry in sorted(configs, key=lambda entry: entry.name)
    }


def block_of(config: Mapping[str, Any], commands: tuple[str, ...], source: str) -> dict[str, Any]:
    """Return a command's block of a config; the own block of a method or source wins over the rest.

    Raises:
        OptionError: A block is named like no command, or is no mapping.
    """
    for name in config:
        if name not in COMMANDS and name != RECORD:
            near = did_you_mean(name, COMMANDS)
            raise OptionError(
                f"{source} has the unknown block {name!r}: allowed are {', '.join(COMMANDS)}.{near}"
            )
    command = commands[0]
    block = mapping(config.get(command), f"{source}: {command}")
    members = family_members(command)
    own = {
        name: mapping(block[name], f"{source}: {command}.{name}")
        for name in members
        if name in block
    }
    common = {key: value for key, value in block.items() if key not in members}
    return merged(common, own.get(commands[-1], {}))


def _text(name: str) -> str:
    path = Path(name)
    shipped = shipped_configs()
    try:
        if path.is_file():
            if path.stat().st_size > LARGEST:
                raise OptionError(
                    f"config {name} has {path.stat().st_size} bytes: allowed are {LARGEST}."
                )
            return path.read_text(encoding="utf-8")
        if name in shipped:
            return str(shipped[name].read_text(encoding="utf-8"))
    except (UnicodeDecodeError, OSError) as error:
        raise OptionError(
            f"config {name} cannot be read as UTF-8 text ({_short(error)})."
        ) from error
    names = ", ".join(shipped)
    raise OptionError(
        f"config {name!r} is no file and not shipped: give a file or one of {names}.{did_you_mean(name, shipped)}"
    )


def _refuse_more_than_data(text: str, name: str) -> None:
    """Look at a YAML text as a stream of events, which builds nothing, and refuse tags, aliases and depth."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        where = f"{name}, line {_line(event)}"
        if (tag := getattr(event, "tag", None)) is not None:
            raise OptionError(
                f"{where}: the tag {tag!r} is refused: a config holds plain data only."
            )
        if (anchor := getattr(event, "anchor", None)) is not None:
            raise OptionError(
                f"{where}: the anchor or alias {anchor!r} is refused: write the values out."
            )
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
            event, yaml.CollectionEndEvent
        )
        if depth > DEEPEST:
            raise OptionError(f"{where}: blocks are nested deeper than {DEEPEST} levels.")


def _plain(node: yaml.Node, name: str) -> Any:
    """Return a YAML node as mappings, lists, text and None."""
    if isinstance(node, yaml.MappingNode):
        return _plain_mapping(node, name)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(entry, name) for entry in node.value]
    plain_null = getattr(node, "style", None) is None and node.value in (
        "",
        "~",
        "null",
        "Null",
        "NULL",
    )
    return None if plain_null else node.value


def _plain_mapping(node: yaml.MappingNode, name: str) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key, value in node.value:
        where = f"{name}, line {_line(key)}"
        if not isinstance(key, yaml.ScalarNode):
            raise OptionError(f"{where}: a key is a list or mapping: allowed is a word.")
        if key.value in mapping:
            raise OptionError(f"{where}: the key {key.value!r} is given twice: keep one.")
        mapping[key.value] = _plain(value, name)
    return mapping


def _line(node: yaml.Event | yaml.Node) -> int:
    return node.start_mark.line + 1 if node.start_mark else 1


def _leaves(
    block: Mapping[str, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in block.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _fill(arguments: ArgumentCollection, keys: tuple[str, ...], value: Any, source: str) -> None:
    """Give an option its value from the file unless the command line has one."""
    name = ".".join(keys)
    try:
        argument, rest, _ = arguments.match(f"--{name}")
    except ValueError:
        raise UnknownOptionError(
            token=Token(keyword=name, source=source), argument_collection=arguments
        ) from None
    if any(token.source != source and token.keys == rest for token in argument.tokens):
        return
    for index, entry in enumerate(value if isinstance(value, list) else [value]):
        argument.append(_token(name, entry, source, rest, index))


def _token(name: str, entry: Any, source: str, rest: tuple[str, ...], index: int) -> Token:
    if isinstance(entry, dict | list):
        raise OptionError(
            f"{source}: {name} holds a list or mapping within a list: allowed are plain values."
        )
    if entry is None:
        return Token(keyword=name, source=source, keys=rest, index=index, implicit_value=None)
    return Token(keyword=name, value=entry, source=source, keys=rest, index=index)


def _refuse_rounding(argument: Argument) -> None:
    if argument.hint not in (int, int | None):
        return
    for token in argument.tokens:
        if token.value and not WHOLE.fullmatch(token.value.lower()):
            raise CoercionError(argument=argument, token=token, target_type=int)


def _refuse_value_of_a_group(argument: Argument) -> None:
    """Refuse ``--train 5`` and ``train: 5``, which cyclopts would ignore."""
    if argument.children and argument.tokens:
        token, first = argument.tokens[0], argument.children[0].name
        where = f"{argument.name}" + ("" if token.source in ("", "cli") else f" in {token.source}")
        raise CycloptsError(
            msg=f"{where} is {token.value!r}, but is a group of options: name one, such as {first}."
        )


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120].rstrip(".")
