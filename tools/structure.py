"""Checks the shape of the package: ``python tools/structure.py`` (part of ``make check``).

Standard library only. Faults, each a line and exit code 1:

- a circle of imports between modules;
- an import that runs up between layers, or a folder that no layer names;
- a folder of more than 25 modules;
- a function of more than 60 lines, or a file of more than 400;
- too many lines over 100 columns, or functions that are too long at the median.

Imports are read from the source, in the strict way: imports inside functions and those under
``if TYPE_CHECKING`` count like all others, since a reader has to follow them too. Only the parent
packages that Python loads on the way (``hilum`` for ``hilum.files``) do not count.

The layers are those of the import-linter contracts in ``pyproject.toml``. Import-linter itself
skips a folder that its contract does not name; this script does not.
"""

from __future__ import annotations

import ast
import re
import statistics
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MODULES_PER_FOLDER = 25
FUNCTION_LINES = 60
FILE_LINES = 400
COLUMNS = 100
LONG_LINES_BELOW = 0.03
MEDIAN_FUNCTION_LINES = 12
# Private functions with one use, in the folders below: 325 at commit 8a8bc99, half of that wanted.
USED_ONCE = 162
USED_ONCE_IN = ("workflows", "pages")
USED_ONCE_IS_A_FAULT = True
# Folders whose every module and subfolder must belong to a layer.
LAYERED = ("workflows", "pages")


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name, its text and its syntax tree."""

    name: str
    path: Path
    is_package: bool
    text: str
    tree: ast.Module


@dataclass(frozen=True)
class Function:
    """A function or method: where it is and how many lines it has, decorators left out."""

    module: Module
    node: ast.FunctionDef | ast.AsyncFunctionDef

    @property
    def lines(self) -> int:
        """Number of lines from ``def`` to the last statement."""
        return (self.node.end_lineno or self.node.lineno) - self.node.lineno + 1

    @property
    def used_once(self) -> bool:
        """Whether it is private and its file names it only once beside its definition."""
        name = self.node.name
        private = name.startswith("_") and not name.startswith("__")
        return private and len(re.findall(rf"\b{name}\b", self.module.text)) == 2


def read_modules(source: Path) -> dict[str, Module]:
    """Return every module below ``source`` (the folder ``src``) by its dotted name."""
    modules = {}
    for path in sorted(source.rglob("*.py")):
        if not (path.parent / "__init__.py").is_file():
            continue  # the script in a bundle
        parts = list(path.relative_to(source).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        text = path.read_text(encoding="utf-8")
        modules[name] = Module(name, path, is_package, text, ast.parse(text, str(path)))
    return modules


def imports_of(module: Module, modules: dict[str, Module]) -> set[str]:
    """Return the names of the package's modules that this one imports, anywhere in its text."""
    imported = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            imported |= {nearest(alias.name, modules) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.name.split(".")
                kept = len(parts) - node.level + module.is_package
                base = ".".join([*parts[:kept], *([node.module] if node.module else [])])
            imported |= {nearest(f"{base}.{alias.name}", modules) for alias in node.names}
    return {name for name in imported if name and name != module.name}


def nearest(name: str, modules: dict[str, Module]) -> str:
    """Return the module that ``name`` is or is defined in; empty outside of the package."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other, directly or by others (Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(arrows[name]):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            start = stack.index(name)
            group = sorted(stack[start:])
            del stack[start:]
            if len(group) > 1:
                groups.append(group)

    for name in sorted(arrows):
        if name not in order:
            visit(name)
    return groups


def layer_contracts(pyproject: Path) -> list[list[list[str]]]:
    """Return each contract of type ``layers``: from the top down, the folders of each layer."""
    settings = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    return [
        [[part.strip() for part in layer.split("|")] for layer in contract["layers"]]
        for contract in contracts
        if contract["type"] == "layers"
    ]


def upward_imports(
    arrows: dict[str, set[str]], contract: list[list[str]]
) -> Iterator[tuple[str, str]]:
    """Yield (importer, imported) where the imported module is in a higher or neighbour layer."""
    level = {part: depth for depth, layer in enumerate(contract) for part in layer}

    def part_of(name: str) -> str:
        while name and name not in level:
            name = name.rpartition(".")[0]
        return name

    for name, others in sorted(arrows.items()):
        low = part_of(name)
        for other in sorted(others):
            high = part_of(other)
            if low and high and low != high and level[high] <= level[low]:
                yield name, other


def without_layer(
    modules: dict[str, Module], contracts: list[list[list[str]]], folder: str
) -> list[str]:
    """Return the modules and folders directly below ``folder`` that no contract names."""
    named = {part for contract in contracts for layer in contract for part in layer}
    depth = folder.count(".") + 2
    below = {".".join(name.split(".")[:depth]) for name in modules if name.startswith(f"{folder}.")}
    return sorted(below - named)


def main(root: Path) -> int:
    """Print what is wrong and the figures; return the exit code."""
    source = root / "src"
    modules = read_modules(source)
    package = next(name for name in modules if "." not in name)
    arrows = {name: imports_of(module, modules) for name, module in modules.items()}
    contracts = layer_contracts(root / "pyproject.toml")
    functions = [
        Function(module, node)
        for module in modules.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    faults = [f"circle of imports: {', '.join(group)}" for group in circles(arrows)]
    faults += [
        f"import runs up between layers: {low} imports {high}"
        for contract in contracts
        for low, high in upward_imports(arrows, contract)
    ]
    faults += [
        f"no layer in pyproject.toml: {name}"
        for folder in LAYERED
        for name in without_layer(modules, contracts, f"{package}.{folder}")
    ]

    folders: dict[Path, int] = {}
    for module in modules.values():
        folders[module.path.parent] = folders.get(module.path.parent, 0) + 1
    faults += [
        f"{folder.relative_to(root)}: {count} modules, at most {MODULES_PER_FOLDER} allowed"
        for folder, count in sorted(folders.items())
        if count > MODULES_PER_FOLDER
    ]

    lines = [line for module in modules.values() for line in module.text.splitlines()]
    long_lines = sum(len(line) > COLUMNS for line in lines)
    share = f"{long_lines} of {len(lines)} lines ({long_lines / len(lines):.2%}) over {COLUMNS}"
    if long_lines >= LONG_LINES_BELOW * len(lines):
        faults.append(f"{share} columns, below {LONG_LINES_BELOW:.0%} allowed")

    median = statistics.median([function.lines for function in functions] or [0])
    if median > MEDIAN_FUNCTION_LINES:
        faults.append(f"median function {median} lines, at most {MEDIAN_FUNCTION_LINES} allowed")

    faults += [
        f"{function.module.path.relative_to(root)}: {function.node.name} has {function.lines} lines, "
        f"at most {FUNCTION_LINES} allowed"
        for function in functions
        if function.lines > FUNCTION_LINES
    ]
    sizes = {module.path: len(module.text.splitlines()) for module in modules.values()}
    faults += [
        f"{path.relative_to(root)}: {count} lines, at most {FILE_LINES} allowed"
        for path, count in sizes.items()
        if count > FILE_LINES
    ]

    once = [
        function
        for function in functions
        if function.used_once
        and function.module.name.startswith(tuple(f"{package}.{f}." for f in USED_ONCE_IN))
    ]
    if USED_ONCE_IS_A_FAULT and len(once) > USED_ONCE:
        faults.append(
            f"{len(once)} private functions used once in {' and '.join(USED_ONCE_IN)}, "
            f"at most {USED_ONCE} allowed: write some in line"
        )

    print(f"{len(modules)} modules, {sum(map(len, arrows.values()))} imports between them")
    print(f"{share} columns")
    print(f"{len(functions)} functions, {median:g} lines at the median; the largest:")
    for function in sorted(functions, key=lambda each: -each.lines)[:5]:
        where = f"{function.module.path.relative_to(root)}:{function.node.lineno}"
        print(f"  {function.lines:>4}  {where} {function.node.name}")
    print("the largest files:")
    for path in sorted(sizes, key=lambda each: -sizes[each])[:5]:
        print(f"  {sizes[path]:>4}  {path.relative_to(root)}")
    print(f"{len(once)} private functions used once in {' and '.join(USED_ONCE_IN)}")
    for fault in faults:
        print(f"structure: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]))
