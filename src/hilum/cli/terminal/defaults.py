"""Nested options whose defaults differ from their class's, so that help and parsing agree.

Cyclopts takes the default of ``--crops.blur`` from the class of ``crops``. Where a method has
``crops: CropRecipe = MOCO``, one option below ``--crops`` would reset all others to the class's
defaults. ``hilum.options.read_options`` does the same for YAML.
"""

from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T")


def spelled_out(options: type[T]) -> type[T]:
    """Return a subclass of an options class whose nested classes carry the nested instances as their defaults."""
    nested = {
        entry.name: value
        for entry in fields(_known(options))
        if is_dataclass(value := _default(entry))
    }
    if not nested:
        return options
    classes = {name: _carrying(value) for name, value in nested.items()}
    return _subclass(
        options, {name: (cls, field(default_factory=cls)) for name, cls in classes.items()}
    )


def _carrying(value: Any) -> type[Any]:
    """Return a subclass of a value's class whose defaults are that value's fields."""
    return _subclass(
        type(value),
        {entry.name: (entry.type, _same(getattr(value, entry.name))) for entry in fields(value)},
    )


def _same(value: Any) -> Any:
    return field(default_factory=lambda: value) if isinstance(value, dict | list) else value


def _subclass(base: type[T], members: dict[str, tuple[Any, Any]]) -> type[T]:
    annotations = {name: kind for name, (kind, _) in members.items()}
    values = {name: value for name, (_, value) in members.items()}
    made = type(
        base.__name__,
        (base,),
        {
            "__module__": base.__module__,
            "__doc__": base.__doc__,
            "__annotations__": annotations,
            **values,
        },
    )
    return dataclass(frozen=True, kw_only=True)(made)


def _default(entry: "Field[Any]") -> Any:
    return entry.default_factory() if entry.default_factory is not MISSING else entry.default


def _known(options: type[Any]) -> Any:
    if not is_dataclass(options):
        raise TypeError(f"{options.__name__} is no dataclass")
    return options
