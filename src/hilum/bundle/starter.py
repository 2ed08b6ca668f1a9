"""The name ``starter``: the small bundle that ships in the package, for trying things."""

from __future__ import annotations

from pathlib import Path

from hilum.errors import RunError

STARTER = "starter"
FOLDER = Path(__file__).resolve().parents[1] / "starter"
"""Where the package holds it; an exported bundle like any other."""


def resolved(path: Path) -> Path:
    """Return the package's own bundle for the name ``starter``, every other path as it is.

    A folder of that name in the working directory comes first.

    Raises:
        RunError: This installation has no such bundle.
    """
    if str(path) != STARTER or path.exists():
        return path
    if not FOLDER.is_dir():
        raise RunError("this installation of Hilum has no starter model: give a run or a bundle.")
    return FOLDER
