"""``predict.py`` of a bundle: `predict_alone` with what it imports of Hilum written into it.

So the script reads and prepares films by the very code that prepared the training films.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib.resources import files

HEAD = '''"""Part of a model exported by Hilum {version} (Apache-2.0, The Hilum developers).

{text}
"""
'''


@cache
def predict_script(version: str) -> str:
    """Return the text of ``predict.py``."""
    pieces: dict[str, _Module] = {}
    script = _module("hilum.workflows.export.predict_alone", pieces)
    imports = {line for piece in pieces.values() for line in piece.needed_imports()}
    future = "from __future__ import annotations"
    parts = [
        HEAD.format(version=version, text=script.docstring),
        future,
        "\n".join(sorted(imports - {future}, key=lambda line: (line.startswith("from"), line))),
    ]
    for name, piece in pieces.items():
        parts += ["" if piece is script else f"# From {name}", *piece.definitions()]
    return "\n\n".join(part for part in parts if part) + "\n"


class _Module:
    """One module: its top-level definitions by name, and which of them are needed."""

    def __init__(self, name: str) -> None:
        package, _, stem = name.rpartition(".")
        text = (files(package) / f"{stem}.py").read_text("utf-8")
        self._lines, tree = text.splitlines(), ast.parse(text)
        self.docstring = ast.get_docstring(tree) or ""
        self._nodes: list[tuple[ast.stmt, tuple[str, ...]]] = []
        self._imports: dict[str, str] = {}
        self.own: dict[str, tuple[str, str]] = {}
        """Name -> module of Hilum and the name there."""
        self.needed: set[str] = set()
        for node in tree.body:
            self._take(node)

    def _take(self, node: ast.stmt) -> None:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            origin = getattr(node, "module", None) or ""
            for alias in node.names:
                bound = alias.asname or alias.name.split(".")[0]
                if origin.startswith("hilum"):
                    self.own[bound] = (origin, alias.name)
                else:
                    self._imports[bound] = ast.unparse(
                        type(node)(**{**vars(node), "names": [alias]})
                    )
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            self._nodes.append((node, (node.name,)))
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [
                part.id
                for target in targets
                for part in ast.walk(target)
                if isinstance(part, ast.Name)
            ]
            self._nodes.append((node, tuple(names)))
        elif self._nodes and isinstance(node, ast.Expr):  # the line that documents a constant
            self._nodes.append((node, self._nodes[-1][1]))
        elif isinstance(node, ast.If):
            self._nodes.append((node, ("__main__",)))

    def need(self, names: set[str]) -> set[str]:
        """Mark definitions and what they use as needed; return what is used of Hilum."""
        waiting, foreign = set(names), set[str]()
        while waiting:
            name = waiting.pop()
            if name in self.own:
                foreign.add(name)
            if name in self.needed:
                continue
            self.needed.add(name)
            for node, own in self._nodes:
                if name in own:
                    waiting |= {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
                    waiting |= set(own)
        return foreign

    def all_names(self) -> set[str]:
        """Return every name that is defined."""
        return {name for _, names in self._nodes for name in names}

    def needed_imports(self) -> list[str]:
        """Return the lines that import what the needed definitions use."""
        return [line for name, line in self._imports.items() if name in self.needed]

    def definitions(self) -> list[str]:
        """Return the text of the needed definitions, in order."""
        texts: list[str] = []
        for node, names in self._nodes:
            if set(names) & self.needed:
                first = min(
                    [node.lineno, *(part.lineno for part in getattr(node, "decorator_list", []))]
                )
                text = "\n".join(self._lines[first - 1 : node.end_lineno])
                if isinstance(node, ast.Expr) and texts:
                    texts[-1] += "\n" + text
                else:
                    texts.append(text)
        return texts


def _module(name: str, pieces: dict[str, _Module], names: set[str] | None = None) -> _Module:
    """Add a module and what it needs of others to the pieces, those first that others build on."""
    module = pieces.get(name) or _Module(name)
    for bound in sorted(module.need(module.all_names() if names is None else names)):
        origin, original = module.own[bound]
        _module(origin, pieces, {original})
    pieces[name] = pieces.pop(name, module)
    return module
