"""What each section of a data card's page is filled with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from hilum.metrics.results import Estimate
from hilum.options import with_new_names
from hilum.pages.card.checks import card_checks, metadata_untested
from hilum.pages.card.read import Card
from hilum.pages.card.tables import (
    ENHANCED,
    copies_table,
    findings_of,
    leaks_table,
    ordered,
    overview,
    policy_table,
    prevalence_table,
    probe_names,
    shortcuts_table,
    sizes_table,
    split_name,
    split_prevalence_table,
    splits_table,
    together_table,
)
from hilum.pages.charts.bars import bars, matrix
from hilum.pages.charts.curves import Line, curves
from hilum.pages.charts.dots import Measured, dots, label_shares
from hilum.pages.charts.intervals import key
from hilum.pages.charts.svg import domain
from hilum.workflows.card.column_record import StoreColumn
from hilum.workflows.card.leakage import LISTS
from hilum.workflows.card.record import CardRecord, CopyCounts, ShortcutCheck, StorePictures
from hilum.workflows.card.statistics import KINDS

VIEWS = {"PA": "PA", "AP": "AP", "LATERAL": "lateral"}
LABELS = {1.0: "present", 0.0: "absent", -1.0: "uncertain", None: "not stated"}
MODEL = "the run"


def card_sections(card: Card) -> dict[str, Any]:
    """Return everything that a card's page shows, by the names that its template uses."""
    record = card.record
    labelled = [column for column in record.columns if column.labels]
    checks = list(card_checks(record))
    by_section = {check.section: check for check in reversed(checks)}
    return {
        "card": record,
        "names": [column.name for column in record.own],
        "whole": record.whole,
        "several": len(record.own) > 1,
        "checks": checks,
        "key": key([column.name for column in record.own]),
        "films": overview(record),
        "people": _people(record),
        "sizes": [sizes_table(column) for column in record.own if column.sizes.known],
        "prevalence": prevalence_table(record) if record.whole.labels else None,
        "labels": [_labels(column) for column in record.own if column.labels],
        "policies": [
            {
                "name": column.name,
                "table": policy_table(column),
                "uncertain": any(counts.uncertain for counts in column.labels.values()),
            }
            for column in labelled
        ],
        "together": [
            co_occurrence(column) for column in record.columns if len(column.together.findings) > 1
        ],
        "greys": _greys(record),
        "means": [
            (column.name, card.picture(column.mean_film), column.greys.films)
            for column in record.own
        ],
        "samples": [_samples(card, store) for store in record.stores],
        "enhancement": [_enhancement(card, store) for store in record.stores],
        "patients_check": by_section["splits"],
        "splits": splits_table(record),
        "split_tables": [split_prevalence_table(column) for column in labelled],
        "copies_check": by_section["copies"],
        "copies": _copies(card, record.copies),
        "outliers_check": by_section["outliers"],
        "outliers": [_shown(card, film) for film in record.outliers.shown],
        "label_issues_check": by_section["label-issues"],
        "label_issues": [
            replace(_shown(card, film), label=LABELS.get(film.label, "not stated"))
            for film in (record.label_issues.shown if record.label_issues else ())
        ],
        "shortcuts": [_shortcuts(check) for check in record.shortcuts],
        "metadata_untested": metadata_untested(record.whole),
        "probes": next((_rule(check) for check in record.shortcuts if not check.reason), None),
        "lists": LISTS,
        "repeat": _repeat(record),
        "hashes": list(_hashes(record)),
    }


def _people(card: CardRecord) -> dict[str, Markup | None]:
    """Return the charts of who is on the films; None where nothing is stated."""

    def short(
        label: str,
    ) -> str:  # as a chart has room for: "6 to 10" -> "6–10", "51 or more" -> "51+"
        return label.replace(" to ", "\u2013").replace(" or more", "+")

    def decade(label: str) -> str:  # "40 to 49" -> "40", "90 or older" -> "90+"
        return label.replace(" or older", "+").partition(" ")[0]

    def stated(counts: Mapping[str, int]) -> dict[str, int]:
        return {VIEWS.get(name, name): count for name, count in ordered(counts).items() if count}

    return {
        "films_per_patient": _bars(
            card, "Patients by their number of films", "films of a patient", "patients",
            lambda column: {short(bar.films): bar.patients for bar in column.films_per_patient.bars},
        ),
        "ages": _bars(
            card, "Films by age", "years, by decade", "films of stated age",
            lambda column: {decade(bar.years): bar.films for bar in column.ages.bars},
        ),
        "sexes": _bars(card, "Films by sex", "sex", "films", lambda column: stated(column.sexes)),
        "views": _bars(
            card, "Films by view position", "view position", "films",
            lambda column: stated(column.views),
        ),
    }  # fmt: skip


def _bars(
    card: CardRecord,
    title: str,
    x_title: str,
    of: str,
    counts: Callable[[StoreColumn], dict[str, int]],
) -> Markup | None:
    by_store = {column.name: counts(column) for column in card.own}
    names = sorted(
        dict.fromkeys(name for store in by_store.values() for name in store),
        key=lambda name: name == "not stated",
    )
    if not any(sum(store.values()) for store in by_store.values()):
        return None
    series = {}
    for name, store in by_store.items():
        total = sum(store.values())
        series[name] = [store.get(bar, 0) / total if total else 0.0 for bar in names]
    return bars(title, names, series, x_title, f"fraction of {of}")


def _labels(column: StoreColumn) -> dict[str, Any]:
    """Return the chart of a column's labels, of the films whose source states the finding."""
    names = findings_of(column)
    proportions: dict[str, list[float]] = {}
    for kind in (*KINDS, "not stated"):
        proportions[kind] = [
            column.labels[name].of(kind.replace(" ", "_"))
            / max(column.films - column.labels[name].not_labelled, 1)
            for name in names
        ]
    return {"name": column.name, "chart": label_shares(names, proportions)}


def co_occurrence(column: StoreColumn) -> dict[str, Any]:
    """Return the chart of co-occurrence: of films with the row's finding, those with the column's."""
    names = column.together.findings
    fractions = [
        [
            both / films if films and other != row else None
            for other, (both, films) in enumerate(zip(*counts, strict=True))
        ]
        for row, counts in enumerate(zip(column.together.films, column.together.of, strict=True))
    ]
    title = f"Fraction of the films with one finding that have another too, {column.name}"
    return {
        "name": column.name,
        "chart": matrix(title, names, fractions),
        "table": together_table(column),
    }


def _greys(card: CardRecord) -> Markup:
    """Return the histograms of the stores' grey values as curves."""
    lines = []
    for index, column in enumerate(card.own):
        width = 256 / len(column.greys.shares)
        points = [((n + 0.5) * width, share) for n, share in enumerate(column.greys.shares)]
        lines.append(Line(column.name, index, points))
    return curves(lines, "grey value", "fraction of the pixels", form="{:.1%}", shown=(0.0,))


def _samples(card: Card, store: StorePictures) -> dict[str, Any]:
    """Return a store's sample films with their labels."""
    films = [
        replace(
            film,
            picture=card.picture(film.picture),
            view=VIEWS.get(film.view or "", film.view or "view not stated"),
        )
        for film in store.samples
    ]
    return {"name": store.source, "films": films}


def _enhancement(card: Card, store: StorePictures) -> dict[str, Any]:
    """Return films of a store before and after enhancement."""
    own = store.preparation.enhance

    def caption(enhance: str) -> str:
        name = ENHANCED.get(enhance, enhance)
        if enhance == own:
            return f"As stored: {name}"
        return f"Before: {name}" if enhance == "none" else f"For comparison only: {name}"

    return {
        "name": store.source,
        "done": ENHANCED.get(own, own),
        "enhanced": own != "none",
        "films": [
            [(card.picture(step.picture), caption(step.enhance)) for step in film]
            for film in store.enhancement
        ],
    }


def _copies(card: Card, copies: CopyCounts) -> dict[str, Any]:
    """Return the tables of copies, and pictures of some pairs."""
    return {
        "table": copies_table(copies),
        "leaks": leaks_table(copies.leaks) if copies.groups else None,
        "shown": [
            {
                "pictures": [card.picture(name) for name in pair.pictures],
                "kind": pair.kind,
                "correlation": pair.correlation,
                "same_patient": pair.same_patient,
                "films": [replace(film, part=split_name(film.part)) for film in pair.films],
            }
            for pair in copies.shown
        ],
    }


def _shown(card: Card, film: Any) -> Any:
    """Return a listed film with its picture."""
    return replace(film, picture=card.picture(film.picture))


def _shortcuts(check: ShortcutCheck) -> dict[str, Any]:
    """Return the probes' AUROCs as a chart and a table, and what is flagged."""
    if check.reason:
        return {"check": check}
    readers = {name: check.probes[name].auroc for name in probe_names(check)}
    if check.model is not None:
        readers[MODEL] = check.model
    tested = [name for name in check.findings if name in check.findings_judged]
    missing = Estimate(None)
    areas = [[known.get(name) or missing for name in tested] for known in readers.values()]
    series = [[Measured.of(area.value, area.interval) for area in row] for row in areas]
    values = [value for row in series for measured in row for value in measured.values()]
    return {
        "check": check,
        "chart": dots(tested, series, list(readers), domain([*values, 0.4, 0.8], 0.1))
        if tested
        else None,
        "key": key(list(readers)),
        "table": shortcuts_table(check),
    }


def _rule(check: ShortcutCheck) -> dict[str, Any]:
    """Return what each probe sees, and the rule that flags."""
    return {
        "sees": [(name, check.probes[name].sees) for name in probe_names(check)],
        "rule": check.rule,
    }


def _repeat(card: CardRecord) -> str:
    """Return the command that makes such a card again."""
    options = {
        name.replace("_", "-"): value
        for name, value in with_new_names("card", card.made_of.options).items()
        if name != "annotations"
    }
    words: Sequence[str] = [f"--{name} {options[name]}" for name in sorted(options)]
    numbered = [f"STORE-{number}" for number in range(1, len(card.own) + 1)]
    stores = " ".join(numbered) if len(numbered) > 1 else "STORE"
    run = " --from RUN" if card.made_of.run else ""
    return f"hilum card {stores} --out NEW{run} {' '.join(words)}"


def _hashes(card: CardRecord) -> Iterator[tuple[str, str]]:
    """Yield the hashes of what went in."""
    for column, store in zip(card.own, card.made_of.stores, strict=True):
        yield f"data, {column.name}", store.fingerprint
        yield f"split of {column.name}", store.split
    if card.made_of.run:
        yield "weights of the run", card.made_of.run
