"""The report: one HTML page that needs no network, built from the files of a study's, a card's or a run's folder."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError, select_autoescape
from markupsafe import Markup

from hilum.bundle.model_folder import age_notes
from hilum.counts import counted
from hilum.errors import RunError
from hilum.files import age_line, refuse_links_out, unhashed, write_bytes
from hilum.options import as_path
from hilum.pages.card.read import read_card
from hilum.pages.card.sections import card_sections
from hilum.pages.read import read_run
from hilum.pages.run.sections import run_sections
from hilum.pages.study.read import Study, read_study_folder
from hilum.pages.study.results import percent
from hilum.pages.study.sections import study_sections
from hilum.pages.tables import named_apart, tables_in
from hilum.pages.wording import listed, spelled
from hilum.version import __version__
from hilum.workflows.card.card import CARD, is_card
from hilum.workflows.card.pixels import PICTURES
from hilum.workflows.study.record import EXPLAINED, STUDY, TABLES, is_study

NOTICE = "Research use only, not a medical device."
PAGE, CARD_PAGE = "report.html", "card.html"


@dataclass(frozen=True)
class ReportResult:
    """The page, and what it tells of: ``study``, ``card`` or ``run``."""

    report: Path
    kind: str
    notes: tuple[str, ...] = ()
    """Lines for the user on files that have no hash."""

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {"report": str(self.report), "kind": self.kind}


def write_report(folder: str | Path) -> ReportResult:
    """Write ``report.html`` into the folder of a study or a run, ``card.html`` into a data card's.

    Equal files give equal bytes. The page of a study or run that is not finished tells of what
    there is so far. The tables of a study or card are written as CSV into its ``tables/`` as well.

    Raises:
        RunError: The folder is none of them, or is damaged.
        DataError: A film, picture or store is missing.
    """
    folder = as_path("folder", folder)
    try:
        refuse_links_out(folder, [TABLES, EXPLAINED, PICTURES])
    except ValueError as error:
        raise RunError(f"{error}: put a copy in its place, which leads nowhere.") from error
    if is_study(folder):
        return _write_study(folder)
    if is_card(folder):
        return _write_card(folder)
    write_bytes(folder / PAGE, run_page(folder).encode())
    return ReportResult(folder / PAGE, "run", age_notes(folder))


def _write_card(folder: Path) -> ReportResult:
    card = read_card(folder)
    try:
        sections = named_apart(card_sections(card))
        page = _with_tables("card.html", sections).encode()
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        TemplateError,
    ) as error:
        line = " ".join(str(error).split())
        raise RunError(
            f"{folder / CARD} is damaged ({line:.80}): delete {folder} and make the card again."
        ) from error
    _write_tables(folder, sections)
    write_bytes(folder / CARD_PAGE, page)
    notes = age_line(folder, unhashed(folder, [CARD]))
    return ReportResult(folder / CARD_PAGE, "card", notes)


def _write_tables(folder: Path, sections: dict[str, Any]) -> None:
    tables = list(tables_in(sections))
    (folder / TABLES).mkdir(exist_ok=True)
    for old in {*(folder / TABLES).glob("*.csv")} - {folder / TABLES / one.file for one in tables}:
        old.unlink()  # of an earlier page, such as runs that failed then
    for one in tables:
        write_bytes(folder / TABLES / one.file, one.csv().encode())


def _write_study(folder: Path) -> ReportResult:
    sections = study_sections(read_study_folder(folder))
    _write_tables(folder, sections)
    write_bytes(folder / PAGE, _study(sections).encode())
    return ReportResult(folder / PAGE, "study", age_line(folder, unhashed(folder, [STUDY])))


def study_page(study: Study) -> str:
    """Return the page of a study as HTML."""
    return _study(study_sections(study))


def _study(sections: dict[str, Any]) -> str:
    return _with_tables("study.html", sections)


def _with_tables(template: str, sections: dict[str, Any]) -> str:
    """Fill a page whose only script sorts its tables; the page's policy lets no other run."""
    script = PackageLoader("hilum.pages", "templates").get_source(
        Environment(autoescape=True), "sort.js"
    )[0]
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    more = {
        "script": Markup(script),
        "script_hash": f"sha256-{digest}",
        "tables": list(tables_in(sections)),
    }
    return _render(template, {**sections, **more})


def run_page(folder: Path) -> str:
    """Return the page of a run as HTML."""
    return _render("run.html", run_sections(read_run(folder)))


def _render(template: str, sections: dict[str, Any]) -> str:
    loader = PackageLoader("hilum.pages", "templates")
    environment = Environment(
        loader=loader,
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "counted": counted,
        "listed": listed,
        "percent": percent,
        "spelled": spelled,
    }
    style = Markup(loader.get_source(environment, "style.css")[0])
    return environment.get_template(template).render(
        **sections, notice=NOTICE, style=style, version=__version__
    )
