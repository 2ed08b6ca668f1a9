"""The site that `make docs` builds has every page and every public name, and the citation the version."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import hilum

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def listed() -> set[Path]:
    """The pages that the site's index names."""
    lines = (DOCS / "index.md").read_text("utf-8").splitlines()
    names = [line for line in lines if re.fullmatch(r"[./\w-]+", line)]
    return {(DOCS / f"{name}.md").resolve() for name in names}


def test_the_index_names_every_page_once_and_no_other() -> None:
    assert {path for path in DOCS.glob("*.md") if path.name != "index.md"} <= listed()
    assert [path for path in listed() if not path.is_file()] == []


def test_the_reference_has_every_public_name() -> None:
    named = re.findall(r"^\.\. auto\w+:: hilum\.(\w+)$", (DOCS / "api.md").read_text("utf-8"), re.M)
    assert sorted(named) == sorted(set(hilum.__all__) - {"__version__"})


@pytest.mark.parametrize("field", ["version", "license"])
def test_the_citation_agrees_with_the_package(field: str) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation[field] == {"version": hilum.__version__, "license": "Apache-2.0"}[field]
