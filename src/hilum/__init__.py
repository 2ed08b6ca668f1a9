"""Hilum learns to read chest radiographs from few labels. Research use, not a medical device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hilum.bundle.predictor import Predictor
    from hilum.catalog import Catalog

__version__ = "0.1.0"


def load(run: str | Path) -> Predictor:
    """Return the trained model of a run folder or bundle, ready to predict.

    Raises:
        RunError: There is none, or it was pretrained only.
    """
    from hilum.bundle.predictor import Predictor

    return Predictor.load(Path(run))


def read_source(name: str, root: str | Path, /, **options: Any) -> Catalog:
    """Return what a source says of its films; see ``hilum.sources``.

    Raises:
        HilumError: The source is unknown or its tables are not what they should be.
    """
    from hilum.sources import read_source as read

    return read(name, Path(root), **options)
