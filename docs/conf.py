"""How Sphinx makes a site of README.md, docs/ and the docstrings: `make docs`."""

from __future__ import annotations

from typing import Any

from hilum.version import __version__

project = "Hilum"
author = "The Hilum developers"
copyright = f"2026, {author}. Research use only, not a medical device"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/*.md",
    "benchmarks/README.md",
    "findings/README.md",
    "src/hilum/images/film_check.md",
]

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"Hilum {release}"
html_copy_source = False
html_show_sourcelink = False

_fields: dict[str, list[str]] = {}


def _keep(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if what == "attribute":
        _fields[name] = list(lines)


def _restore(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if what == "attribute":
        lines[:] = _fields.pop(name)


def setup(app: Any) -> None:
    """Keep the docstrings of fields from napoleon, which takes all before a colon for a type."""
    app.connect("autodoc-process-docstring", _keep, priority=400)
    app.connect("autodoc-process-docstring", _restore, priority=600)
