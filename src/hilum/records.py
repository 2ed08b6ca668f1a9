"""Typed records: frozen dataclasses read from the plain values of a JSON file."""

from __future__ import annotations

import types
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def read_record(kind: type[T], content: Any) -> T:
    """Return a frozen dataclass from a JSON object; keys that it does not have are left out.

    A field may be a plain value, ``X | None``, ``tuple[X, ...]``, ``tuple[X, Y]``,
    ``Mapping[str, X]``, a NamedTuple, another such dataclass, or ``Any``. A field with a default may be missing.
    A field whose key is another name has it as ``field(metadata={"key": ...})``.

    Raises:
        ValueError: A field is missing or of another type, with the field's name.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Point:
    ...     x: float
    ...     names: tuple[str, ...] = ()
    >>> read_record(Point, {"x": 1, "names": ["a"], "later": True})
    Point(x=1.0, names=('a',))
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"{kind.__name__} is no mapping")
    values = {}
    for entry, hint in _fields(cast(Hashable, kind)):
        key = entry.metadata.get("key", entry.name)
        if key in content:
            values[entry.name] = _read(hint, content[key], key)
        elif entry.default is MISSING and entry.default_factory is MISSING:
            raise ValueError(f"no {key}")
    return kind(**values)


@cache
def _fields(kind: Any) -> list[tuple[Field[Any], Any]]:
    # Type hints are strings until they are resolved, which is slow: once for each kind.
    hints = get_type_hints(kind)
    return [(entry, hints[entry.name]) for entry in fields(kind) if entry.init]


def _read(hint: Any, value: Any, name: str) -> Any:
    """Return a value as its type hint has it."""
    if hint is Any:
        return value
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return _read(next(arg for arg in inner if arg is not type(None)), value, name)
    if is_dataclass(hint):
        try:
            return read_record(hint, value)  # type: ignore[arg-type]
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    if hasattr(hint, "_fields"):  # a NamedTuple, on file a list
        inner = tuple(get_type_hints(hint).values())
        if isinstance(value, (list, tuple)) and len(value) == len(inner):
            return hint(*(_read(arg, one, name) for arg, one in zip(inner, value, strict=True)))
        raise ValueError(f"{name} is {value!r:.40}")
    if origin is tuple:
        if isinstance(value, (list, tuple)):
            if inner[-1] is Ellipsis:
                return tuple(_read(inner[0], one, name) for one in value)
            if len(value) == len(inner):
                return tuple(_read(arg, one, name) for arg, one in zip(inner, value, strict=True))
    elif origin is not None:  # Mapping[str, X]
        if isinstance(value, Mapping):
            return {str(key): _read(inner[1], one, name) for key, one in value.items()}
    elif hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, hint) and (hint is bool) == isinstance(value, bool):
        return value
    raise ValueError(f"{name} is {value!r:.40}")
