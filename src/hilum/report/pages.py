"""The report: one HTML page that needs no network, built from the files of a demo's or a run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from hilum import __version__
from hilum.files import write_bytes
from hilum.report.demo_sections import demo_sections
from hilum.report.read import is_demo, read_demo, read_run
from hilum.report.run_sections import run_sections
from hilum.report.wording import counted, listed

NOTICE = "Research use only, not a medical device."
PAGE = "report.html"


@dataclass(frozen=True)
class ReportResult:
    """The page, and what it tells of: ``demo`` or ``run``."""

    report: Path
    kind: str

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {"report": str(self.report), "kind": self.kind}


def write_report(folder: Path) -> ReportResult:
    """Write ``report.html`` into the folder of a finished demo or of a run; equal files give equal bytes.

    The page of a run that is not finished tells of its steps so far.

    Raises:
        RunError: The folder is neither, or holds a demo that is not finished.
        DataError: A film or picture is missing.
    """
    kind = "demo" if is_demo(folder) else "run"
    page = demo_page(folder) if kind == "demo" else run_page(folder)
    write_bytes(folder / PAGE, page.encode())
    return ReportResult(folder / PAGE, kind)


def demo_page(folder: Path) -> str:
    """Return the page of a finished demo as HTML."""
    return _render("demo.html", demo_sections(read_demo(folder)))


def run_page(folder: Path) -> str:
    """Return the page of a run as HTML."""
    return _render("run.html", run_sections(read_run(folder)))


def _render(template: str, sections: dict[str, Any]) -> str:
    loader = PackageLoader("hilum.report", "templates")
    environment = Environment(
        loader=loader,
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"counted": counted, "listed": listed}
    style = Markup(loader.get_source(environment, "style.css")[0])
    return environment.get_template(template).render(**sections, notice=NOTICE, style=style, version=__version__)
