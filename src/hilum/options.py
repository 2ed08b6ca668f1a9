"""Options as frozen dataclasses: checks, and their form in YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hilum.errors import OptionError

Device = Literal["auto", "cpu", "cuda"]
DEFAULT_FRACTION = 1.0


def take_fields(options: Any) -> None:
    """Turn a dataclass's paths and tuples into the types they are declared as; call it first.

    A text becomes a path, and a single value a tuple of one: ``data="store"`` is one store and not
    five letters. Nothing is iterated but lists and tuples: a torch Dataset would be read to its end.

    Raises:
        TypeError: A field has something that is no path, or no list; the line names it.
    """
    for name, (kind, several, optional) in _taken_fields(options.__class__).items():
        value = getattr(options, name)
        if value is None and optional:
            continue
        taken = _as_tuple(name, value, kind) if several else as_path(name, value)
        object.__setattr__(options, name, taken)


@cache
def _taken_fields(options: type) -> dict[str, tuple[type, bool, bool]]:
    """Return the fields that are paths or tuples: of which type, whether several, whether None is allowed."""
    taken = {}
    hints = get_type_hints(options)
    for name in (entry.name for entry in fields(options)):
        choices = get_args(hints[name]) if get_origin(hints[name]) is UnionType else (hints[name],)
        for hint in choices:
            several = get_origin(hint) is tuple
            kind = get_args(hint)[0] if several else hint
            if kind is Path or (several and kind in (str, int, float)):
                taken[name] = (kind, several, type(None) in choices)
    return taken


def as_path(name: str, value: object) -> Path:
    """Return a path of what the caller gave as ``name``.

    Raises:
        TypeError: It is neither text nor a path.
    """
    if isinstance(value, (str, Path)):
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
        return (Path(value),)
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


def refuse_below(options: Any, smallest: Mapping[str, int]) -> None:
    """Raise an OptionError where a field lies below the smallest value allowed; None is let through."""
    for name, least in smallest.items():
        value = getattr(options, name)
        if value is not None and value < least:
            raise OptionError(f"--{name.replace('_', '-')} is {value}: allowed is {least} or more.")


def plain(options: Any) -> Any:
    """Return options as what YAML can say: paths become text, tuples lists."""
    if isinstance(options, dict):
        return {str(key): plain(value) for key, value in options.items()}
    if isinstance(options, (tuple, list)):
        return [plain(value) for value in options]
    return str(options.resolve()) if isinstance(options, Path) else options


def read_options(kind: Any, told: Mapping[str, Any]) -> Any:
    """Return options of a dataclass as ``options.plain`` wrote them; what is not told is as by default.

    Raises:
        TypeError: Something is told that the dataclass does not have, or lacks what it needs.
    """
    hints, known = get_type_hints(kind), [entry.name for entry in fields(kind)]
    unknown = [name for name in told if name not in known]
    if unknown:
        raise TypeError(f"unknown option {unknown[0]}")
    return kind(**{name: _read(hints[name], value) for name, value in told.items()})


def _read(hint: Any, value: Any) -> Any:
    if is_dataclass(hint):
        return read_options(hint, value)
    of_paths = Path in (hint, *get_args(hint))
    if isinstance(value, list):
        return tuple(map(Path, value)) if of_paths else tuple(value)
    return Path(value) if of_paths and value is not None else value
