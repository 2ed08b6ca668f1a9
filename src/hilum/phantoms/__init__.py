"""Drawn radiographs with known findings and masks, in CheXpert's own layout."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hilum.phantoms.folder import PhantomResult, write_phantoms
    from hilum.phantoms.options import PhantomOptions

__all__ = ["PhantomOptions", "PhantomResult", "write_phantoms"]

_PLACES = {"PhantomOptions": "options", "PhantomResult": "folder", "write_phantoms": "folder"}


def __getattr__(name: str) -> Any:
    """Import on first use, so that the options alone (which a command's help reads) do not cost OpenCV."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
