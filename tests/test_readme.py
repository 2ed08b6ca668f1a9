"""The README says what is true: the list of modules is the package's, and the commands are understood."""

from __future__ import annotations

import ast
import os
import re
import shlex
from pathlib import Path

import pytest

from hilum.cli.app import build_app

REPOSITORY = Path(__file__).resolve().parents[1]
MODULES = REPOSITORY / "docs" / "modules.md"
TREE = re.compile(r"(?<=<!-- tree -->\n```\n).*?(?=```\n<!-- end of tree -->)", re.DOTALL)
COMMAND = re.compile(r"^hilum .+$", re.MULTILINE)


def tree() -> str:
    """One line a module: its place and its docstring's first line; a package's line has its folder's name."""
    package = REPOSITORY / "src" / "hilum"
    lines = []
    modules = [path for path in package.rglob("*.py") if (path.parent / "__init__.py").is_file()]
    for path in sorted(modules, key=place):
        said = (
            (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
            .splitlines()[0]
            .rstrip(".")
        )
        depth = len(path.relative_to(package).parts) - (path.name == "__init__.py")
        name = f"{path.parent.name}/" if path.name == "__init__.py" else path.name
        lines.append(f"{'  ' * depth + name:<26} {said}")
    return "\n".join(lines) + "\n"


def place(path: Path) -> tuple[str, ...]:
    """Files after the folder that they are in, and before its folders."""
    parts = list(path.relative_to(REPOSITORY / "src" / "hilum").parts)
    if parts[-1] == "__init__.py":
        parts[-1] = ""
    return (*(f"~{part}" for part in parts[:-1]), parts[-1])


def test_the_tree_is_the_packages() -> None:
    text = MODULES.read_text(encoding="utf-8")
    if os.environ.get("HILUM_UPDATE_GOLDEN"):
        MODULES.write_text(TREE.sub(lambda _: tree(), text), encoding="utf-8")
        text = MODULES.read_text(encoding="utf-8")
    found = TREE.search(text)
    assert found is not None
    assert found.group() == tree(), "run `HILUM_UPDATE_GOLDEN=1 pytest tests/test_readme.py`"


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/export.md",
        "docs/nih14.md",
        "docs/more-data.md",
        "docs/clusters.md",
        "docs/study.md",
        "docs/pseudo-labels.md",
        "docs/data-card.md",
        "docs/small-sets.md",
        "docs/starter.md",
    ],
)
def test_every_command_of_the_pages_is_understood(page: str) -> None:
    commands = COMMAND.findall((REPOSITORY / page).read_text(encoding="utf-8").replace("\\\n", " "))
    assert commands
    for command in commands:
        words = shlex.split(command, comments=True)[1:]
        build_app(words).parse_args(words)
