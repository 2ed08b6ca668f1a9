"""The layer contracts know every part of the house."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NO_PARTS = {"cli", "__init__", "__main__", "configs", "starter", "py", "__pycache__"}


def test_every_part_but_cli_is_kept_from_the_command_line_library() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    house, *_, library = settings["contracts"]
    parts = {
        f"hilum.{path.stem}"
        for path in (ROOT / "src" / "hilum").iterdir()
        if path.stem not in NO_PARTS
    }
    assert set(library["source_modules"]) == parts
    assert {part for layer in house["layers"] for part in layer.split(" | ")} == parts | {
        "hilum.cli"
    }
