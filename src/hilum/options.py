"""Options as frozen dataclasses: checks, and their form in YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from hilum.errors import OptionError

Device = Literal["auto", "cpu", "cuda"]
DEFAULT_FRACTION = 1.0


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
