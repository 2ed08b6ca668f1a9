"""Options as frozen dataclasses: range checks, reading and writing them as YAML, and options that were renamed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hilum.errors import OptionError, did_you_mean

Device = Literal["auto", "cpu", "cuda"]
DEFAULT_FRACTION = 1.0

RENAMED: dict[str, dict[str, str]] = {
    "pretrain": {"watch": "monitor", "*.watch": "*.monitor"},
    "finetune": {"draw": "subset_seed"},
    "probe": {"draw": "subset_seed"},
    "evaluate": {"drop_seen": "exclude_training_images"},
    "card": {"truth": "annotations", "hints": "label_issues"},
    "study": {
        "truth": "annotations",
        "models.*.grow": "models.*.self_train",
        "pretrain.watch": "pretrain.monitor",
        "pretrain.*.watch": "pretrain.*.monitor",
    },
}
"""Command -> old key -> new key, of options that version 0.1.0 had by another name. A star stands
for one key of any name (a method, a model); what lies below a renamed key moves with it."""

ADDED = (
    *(".train.min_steps", ".allow_partial", "record.init", ".validation", ".folds"),
    *(".probe_first", ".probe_scale"),
    *(".train.crops", ".train.sizes", ".train.size_shares", ".method.decoupled"),
    *(".soft_targets.ratio", ".soft_targets.weight", ".soft_targets.starts"),
    *(".train.backbone_rate", ".train.layer_decay", ".train.keep_norm", ".train.average"),
)
"""How options end that version 0.1.0 did not have: a run is no other for lacking one."""

WHOLE = re.compile(r"[+-]?\d[\d_]*")
TRUE, FALSE = ("true", "yes", "y", "t", "1"), ("false", "no", "n", "f", "0")
NULL = ("none", "null")
T = TypeVar("T")


def take_fields(options: Any) -> None:
    """Turn a dataclass's paths and tuples into the types they are declared as; call it first.

    A text becomes a path, and a single value a tuple of one: ``data="store"`` is one store and not
    five letters. Nothing is iterated but lists and tuples: a torch Dataset would be read to its end.

    Raises:
        TypeError: A field has something that is no path, or no list; the line names it.
    """
    for name, (kind, several, optional) in _taken_fields(options.__class__).items():
        value = getattr(options, name)
        if several and not (value is None and optional):
            object.__setattr__(options, name, _as_tuple(name, value, kind))
        elif kind is Path and not (value is None and optional):
            object.__setattr__(options, name, as_path(name, value))
        elif isinstance(value, Path):  # init=run_folder, which may also be a word such as "random"
            object.__setattr__(options, name, str(value))


@cache
def _taken_fields(options: type) -> dict[str, tuple[type, bool, bool]]:
    """Return the fields that are paths, texts or tuples: type, whether several, whether None is allowed."""
    taken = {}
    hints = get_type_hints(options)
    for name in (entry.name for entry in fields(options)):
        choices = get_args(hints[name]) if get_origin(hints[name]) is UnionType else (hints[name],)
        for hint in choices:
            several = get_origin(hint) is tuple
            kind = get_args(hint)[0] if several else hint
            if kind in (Path, str) or (several and kind in (int, float)):
                taken[name] = (kind, several, type(None) in choices)
    return taken


def as_path(name: str, value: object) -> Path:
    """Return a path of what the caller gave as ``name``.

    Raises:
        TypeError: It is neither text nor a path.
        OptionError: It has a NUL, which no path can have.
    """
    if isinstance(value, (str, Path)):
        if "\0" in str(value):
            raise OptionError(f"{name} is {str(value)!r:.200}: a path has no NUL character.")
        return Path(value)
    raise TypeError(f"{name} is {kind_of(value)}: allowed is a path (str or pathlib.Path).")


def as_paths(name: str, value: object) -> tuple[Path, ...]:
    """Return the paths of what the caller gave as ``name``: one path, or a list or tuple of them.

    Raises:
        TypeError: It is something else; it is then not iterated.
    """
    return _as_tuple(name, value, Path)


def _as_tuple(name: str, value: object, kind: type) -> tuple[Any, ...]:
    if isinstance(value, (list, tuple)):
        if kind is not Path:
            return tuple(value)
        return tuple(as_path(f"{name}[{index}]", path) for index, path in enumerate(value))
    if kind is Path and isinstance(value, (str, Path)):
        return (as_path(name, value),)
    if isinstance(value, (int, float) if kind is float else kind):
        return (value,)
    allowed = "a path (str or pathlib.Path)" if kind is Path else f"a {kind.__name__}"
    raise TypeError(
        f"{name} is {kind_of(value)}: allowed is {allowed}, or a list or tuple of them."
    )


def kind_of(value: object) -> str:
    """Return the type of a value as an error line names it.

    >>> kind_of(b"x"), kind_of(None)
    ('a bytes', 'None')
    """
    kind = type(value)
    if value is None:
        return "None"
    return (
        f"a {kind.__qualname__}"
        if kind.__module__ == "builtins"
        else f"a {kind.__module__}.{kind.__qualname__}"
    )


def refuse_below(options: Any, smallest: Mapping[str, int], above: str = "") -> None:
    """Raise an OptionError where a field is smaller than allowed; None is let through.

    Args:
        options: A dataclass.
        smallest: Field -> smallest value allowed.
        above: The option's name on the command line up to the field's, such as ``train.``.
    """
    for name, least in smallest.items():
        value = getattr(options, name)
        if value is not None and not value >= least:  # nan is refused too
            dashed = name.replace("_", "-")
            raise OptionError(f"--{above}{dashed} is {value}: allowed is {least} or more.")


def plain(options: Any) -> Any:
    """Return options as plain YAML values: paths become text, tuples lists."""
    if isinstance(options, dict):
        return {str(key): plain(value) for key, value in options.items()}
    if isinstance(options, (tuple, list)):
        return [plain(value) for value in options]
    return str(options.resolve()) if isinstance(options, Path) else options


def mapping(block: Any, where: str) -> dict[str, Any]:
    """Return a block of YAML, empty where there is none.

    Raises:
        OptionError: It is no mapping.
    """
    if block is None:
        return {}
    if not isinstance(block, dict):
        raise OptionError(f"{where} is {str(block)[:60]!r}: allowed is a block of options.")
    return block


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return two blocks as one, in which ``above`` wins at every depth."""
    both = {
        key for key in below if isinstance(below[key], dict) and isinstance(above.get(key), dict)
    }
    return {**below, **above, **{key: merged(below[key], above[key]) for key in both}}


def read_options(kind: type[T], block: Mapping[str, Any], where: str, usual: T | None = None) -> T:
    """Return options of a dataclass from a block of YAML, whose values may be text.

    Text is read by the field's type as the command line reads it: ``"1e-3"`` is a float, ``"no"`` a
    bool, one value a list of one.

    Args:
        kind: The dataclass; its fields may be bool, int, float, str, Path, Literal, None, tuples and
            dicts of these, unions, and further dataclasses.
        block: Key -> value.
        where: The file, and the block in it, as in ``my.yaml: finetune``; begins every error line.
        usual: Values of what the block leaves out; the defaults of the dataclass unless given.

    Raises:
        OptionError: A key is unknown or missing, or a value is not allowed; the line names file,
            key, value and what is allowed.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Loop:
    ...     epochs: int = 5
    ...     lr: float = 0.1
    >>> read_options(Loop, {"lr": "1e-3"}, "my.yaml: train")
    Loop(epochs=5, lr=0.001)
    """
    options: T = _options(kind, block, where, where, usual)
    return options


def read_value(hint: Any, value: Any, key: str) -> Any:
    """Return one value of YAML, which may be text, as a type asks for it; see ``read_options``.

    Raises:
        OptionError: It is not allowed; the line begins with ``key``.

    >>> read_value(dict[float, int], {"0.1": "5"}, "my.yaml: epochs")
    {0.1: 5}
    """
    return _value(hint, value, key, key)


def _options(kind: Any, block: Mapping[str, Any], where: str, root: str, usual: Any) -> Any:
    hints = get_type_hints(kind)
    entries = {entry.name: entry for entry in fields(kind)}
    for key in block:
        if key not in entries:
            near = did_you_mean(key, entries).replace("'", "")
            raise OptionError(f"{where} has the unknown key {key}.{near}")
    values = {} if usual is None else {name: getattr(usual, name) for name in entries}
    for name, entry in entries.items():
        if entry.default is not MISSING:
            values.setdefault(name, entry.default)
        elif entry.default_factory is not MISSING:
            values.setdefault(name, entry.default_factory())
        if name in block:
            # A nested dataclass goes on from its owner's default, which may differ from its class's.
            before = values.get(name)
            values[name] = _value(hints[name], block[name], f"{where}.{name}", root, before)
        elif name not in values:
            raise OptionError(f"{where}.{name} is missing: give it.")
    try:
        return kind(**values)
    except OptionError as error:  # a range, which the dataclass checks itself
        raise OptionError(str(error) if root in str(error) else f"{root}: {error}") from error


def _value(hint: Any, value: Any, key: str, root: str, before: Any = None) -> Any:
    """Return a value of YAML as a type asks for it."""
    arms = get_args(hint)
    if is_dataclass(hint):
        usual = before if isinstance(before, hint) else None  # type: ignore[arg-type]
        return _options(hint, mapping(value, key), key, root, usual)
    if get_origin(hint) in (Union, UnionType):
        return _one_of(arms, value, key, root)
    if get_origin(hint) is dict:
        return {
            _value(arms[0], name, f"{key}: the key", root): _value(
                arms[1], entry, f"{key}.{name}", root
            )
            for name, entry in mapping(value, key).items()
        }
    if get_origin(hint) is tuple and value is not None:
        entries = value if isinstance(value, list | tuple) else [value]
        return tuple(_value(arms[0], entry, key, root) for entry in entries)
    if get_origin(hint) is Literal:
        if value in arms:
            return value
        near = did_you_mean(str(value), map(str, arms))
        raise OptionError(f"{key} is {value!r}: allowed is {_allowed(hint)}.{near}")
    try:
        return SCALARS[hint](value)
    except (ValueError, TypeError):
        said = "empty" if value is None else f"{value!r:.80}"
        raise OptionError(f"{key} is {said}: allowed is {_allowed(hint)}.") from None


def _one_of(arms: tuple[Any, ...], value: Any, key: str, root: str) -> Any:
    """Return a value as the first type of a union that takes it."""
    blocks = [arm for arm in arms if get_origin(arm) is dict or is_dataclass(arm)]
    if isinstance(value, dict) and blocks:
        return _value(blocks[0], value, key, root)
    null = value is None or (isinstance(value, str) and value.lower() in NULL and str not in arms)
    if null and NoneType in arms:
        return None
    plain_arms = [arm for arm in arms if arm not in blocks and arm is not NoneType]
    for arm in plain_arms[:-1]:
        try:
            return _value(arm, value, key, root)
        except OptionError:
            continue
    if len(plain_arms) == 1 and not blocks:
        return _value(plain_arms[0], value, key, root)
    try:
        return _value(plain_arms[-1], value, key, root)
    except OptionError:
        allowed = " or ".join(_allowed(arm) for arm in arms if arm is not NoneType)
        raise OptionError(f"{key} is {value!r:.80}: allowed is {allowed}.") from None


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() not in (*TRUE, *FALSE):
        raise ValueError(value)
    return str(value).lower() in TRUE


def _int(value: Any) -> int:
    if isinstance(value, bool) or not WHOLE.fullmatch(
        str(value)
    ):  # int("2.7") fails, int(2.7) is 2
        raise ValueError(value)
    return int(str(value))


def _float(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError(value)
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    return value


SCALARS: dict[Any, Callable[[Any], Any]] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _text,
    Path: lambda value: Path(_text(value)),
}
WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
}


def _allowed(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return ", ".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        return f"a list, each {_allowed(get_args(hint)[0])}"
    return WORDS.get(hint, "a block")


def new_name(command: str, keys: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return today's key of an option that was renamed, None of any other.

    >>> new_name("pretrain", ("watch", "every"))
    ('monitor', 'every')
    """
    for old, new in RENAMED.get(command, {}).items():
        before, after = old.split("."), new.split(".")
        head, below = keys[: len(before)], keys[len(before) :]
        if len(head) == len(before) and all(map(_matches, before, head)):
            stars = (key if now == "*" else now for now, key in zip(after, head, strict=True))
            return (*stars, *below)
    return None


def old_names(command: str, block: Any) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield each key of a command's block that was renamed, with its new name."""
    for keys in _every_key(block):
        new = new_name(command, keys)
        if new is not None and new_name(command, keys[:-1]) is None:  # not what lies below one
            yield keys, new


def with_new_names(command: str, block: Any, above: tuple[str, ...] = ()) -> Any:
    """Return a command's block by today's names: for files that an older version wrote itself."""
    if not isinstance(block, dict):
        return block
    renamed = {}
    for key, value in block.items():
        new = new_name(command, (*above, str(key)))
        renamed[key if new is None else new[len(above)]] = with_new_names(
            command, value, (*above, str(key))
        )
    return renamed


def _matches(pattern: str, key: str) -> bool:
    return pattern in ("*", key)


def _every_key(block: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(block, dict):
        for key, value in block.items():
            yield (*above, str(key))
            yield from _every_key(value, (*above, str(key)))
