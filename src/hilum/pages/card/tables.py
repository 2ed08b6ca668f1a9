"""The tables of a data card's page; each is a CSV file too."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from hilum.counts import counted
from hilum.labels import POLICIES
from hilum.pages.tables import Cell, Table, estimate, estimates, number, numbers, table, word, words
from hilum.splits import PARTS
from hilum.workflows.card.column_record import Percentiles, StoreColumn
from hilum.workflows.card.leakage import OUTSIDE, PARTS_SHOWN
from hilum.workflows.card.record import CardRecord, CopyCounts, ShortcutCheck
from hilum.workflows.card.shortcut_probes import PROBES

ENHANCED = {"paper": "denoised and equalised", "clahe": "equalised locally", "none": "not enhanced"}
SPLITS = tuple(name for name in PARTS if name != "all")
UNSEEN = "-"


def split_name(name: str) -> str:
    """Return a split's name as it is shown; films outside have another name on file."""
    return "in no split" if name == OUTSIDE else name


def stem(*names: str) -> str:
    """Return a file's stem from words that a user may have chosen.

    >>> stem("labels", "../My Store")
    'labels-My-Store'
    """
    return "-".join(re.sub(r"\W+", "-", name).strip("-") or "store" for name in names)


def percentage(value: float | None) -> Cell:
    """Return a fraction in percent.

    >>> percentage(0.0244).text, percentage(None).text
    ('2.4%', 'not available')
    """
    return number(value, "{:.1%}")


def overview(card: CardRecord) -> Table:
    """Return what is counted of every store, a column each and all together."""
    rows = [
        [word(fact), *(cell(column) for column in card.columns)] for fact, cell in _FACTS.items()
    ]
    columns = [words("", "fact"), *(numbers(one.name, one.name) for one in card.columns)]
    return table("films", "Counts of the stores", columns, rows)


def _tallied(counts: Mapping[str, int]) -> Cell:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
    return Cell(f"{sum(counts.values()):,}", (sum(counts.values()),), reasons)


def _ages(column: StoreColumn) -> Cell:
    ages = column.ages
    if ages.median is None:
        return Cell("not stated", (None,), style="soft")
    above = f", {counted(ages.unlikely, 'age')} above 120" if ages.unlikely else ""
    return Cell(
        f"{ages.median:g}", (ages.median,), f"5% to 95%: {ages.p5:g} to {ages.p95:g}{above}"
    )


def _proportions(counts: Mapping[str, int], films: int) -> Cell:
    text = ", ".join(
        f"{name} {count / films:.0%}" for name, count in ordered(counts).items() if count
    )
    return Cell(text or UNSEEN, (text,))


def _sizes(column: StoreColumn) -> Cell:
    sizes = column.sizes
    if not sizes.known:
        return Cell("not recorded", (None,), "prepare again to record it", "soft")
    low, high = sizes.shortest_side
    sides = f"{low:,} px" if low == high else f"{low:,} to {high:,} px"
    return Cell(
        sides,
        (sides,),
        f"{counted(sizes.different, 'size')}, {sizes.square / sizes.known:.0%} square",
    )


def _percentiles(values: Percentiles) -> Cell:
    return Cell(
        f"{values.median:.0f}", (values.median,), f"5% to 95%: {values.p5:.0f} to {values.p95:.0f}"
    )


_FACTS: dict[str, Callable[[StoreColumn], Cell]] = {
    "films": lambda column: number(column.films),
    "patients": lambda column: number(column.patients),
    "studies": lambda column: (
        number(column.studies)
        if column.studies is not None
        else Cell("not named", (None,), style="soft")
    ),
    "films of a patient, median": lambda column: Cell(
        f"{column.films_per_patient.median:g}",
        (column.films_per_patient.median,),
        f"at most {column.films_per_patient.most:,}",
    ),
    "rows of the source's tables": lambda column: number(column.rows.read),
    "rows left out": lambda column: _tallied(column.rows.excluded),
    "films that could not be read": lambda column: _tallied(column.rows.failed),
    "findings that its source states": lambda column: number(len(column.labels)),
    "films with no finding present": lambda column: percentage(
        column.together.none_present / column.films
    ),
    "sex": lambda column: _proportions(column.sexes, column.films),
    "age in years, median": _ages,
    "view": lambda column: _proportions(column.views, column.films),
    "shorter side of the original films": _sizes,
    "mean grey of a film (0 to 255), median": lambda column: _percentiles(column.greys.mean),
    "contrast of a film (standard deviation), median": lambda column: _percentiles(
        column.greys.contrast
    ),
    "pixels that are black": lambda column: percentage(column.greys.black),
    "pixels that are white": lambda column: percentage(column.greys.white),
}


def ordered(counts: Mapping[str, int]) -> dict[str, int]:
    """Return counts by name, what is not stated last."""
    return {
        name: counts[name] for name in sorted(counts, key=lambda name: (name == "not stated", name))
    }


def findings_of(column: StoreColumn) -> list[str]:
    """Return the findings that a column's sources state, in their own order; on file they are sorted."""
    return [name for name in column.together.findings if name in column.labels]


def prevalence_table(card: CardRecord) -> Table:
    """Return the fraction of films on which each finding is stated as present, by store."""
    columns = [words("finding", "finding")]
    for column in card.columns:
        columns += [
            numbers(column.name, f"{column.name}_share"),
            numbers("films", f"{column.name}_films"),
            numbers("patients", f"{column.name}_patients"),
        ]
    empty = Cell("", (None,))
    rows = []
    for name in findings_of(card.whole):
        cells = [word(name)]
        for column in card.columns:
            labels = column.labels.get(name)
            if labels is None:
                cells += [Cell("not labelled", (None,), style="soft"), empty, empty]
                continue
            cells += [
                percentage(labels.present / (column.films - labels.not_labelled)),
                number(labels.present),
                number(labels.patients_present),
            ]
        rows.append(cells)
    return table("prevalence", "Films on which each finding is present", columns, rows)


def policy_table(column: StoreColumn) -> Table:
    """Return the fraction of films that training takes as positive for each finding, by uncertainty policy."""
    kinds = ("present", "uncertain", "absent", "not_stated")
    policies = [name for name in POLICIES if name in next(iter(column.labels.values())).prevalence]
    columns = [
        words("finding", "finding"),
        *(numbers(kind.replace("_", " "), kind) for kind in kinds),
        *(numbers(policy, policy) for policy in policies),
        numbers("stated only", "stated_only"),
    ]
    rows = [
        [
            word(name),
            *(number(column.labels[name].of(kind)) for kind in kinds),
            *(
                percentage(column.labels[name].prevalence[policy])
                for policy in [*policies, "stated only"]
            ),
        ]
        for name in findings_of(column)
    ]
    title = f"Labels and prevalence by policy, {column.name}"
    return table(stem("policies", column.name), title, columns, rows)


def splits_table(card: CardRecord) -> Table:
    """Return films and patients of every split of every store."""
    columns = [words("split", "part")]
    for column in card.columns:
        of = f", {column.name}" if len(card.columns) > 1 else ""
        columns += [
            numbers(f"films{of}", f"{column.name}_films"),
            numbers(f"patients{of}", f"{column.name}_patients"),
        ]
    rows = []
    for name in (*SPLITS, "left_out"):
        counts = [column.parts[name] for column in card.columns]
        if any(one.films for one in counts):
            cells = [word("in no split" if name == "left_out" else name)]
            for split in counts:
                known = split.patients is not None
                patients = number(split.patients) if known else Cell("", (None,))
                cells += [number(split.films), patients]
            rows.append(cells)
    return table("parts", "Films and patients of each split", columns, rows)


def split_prevalence_table(column: StoreColumn) -> Table:
    """Return the prevalence of every finding in each split, of the films whose source states it."""
    splits = {name: column.parts[name] for name in SPLITS if column.parts[name].films}
    columns = [words("finding", "finding")]
    for name in splits:
        columns += [numbers(name, f"{name}_share"), numbers("films", f"{name}_films")]
    rows = []
    for finding in findings_of(column):
        cells = [word(finding)]
        for split in splits.values():
            present, films = split.present[finding], split.labelled[finding]
            cells += [percentage(present / films if films else None), number(present)]
        rows.append(cells)
    return table(stem("parts", column.name), f"Findings by split, {column.name}", columns, rows)


def together_table(column: StoreColumn) -> Table:
    """Return on how many films every two findings are present both."""
    names = column.together.findings
    columns = [words("finding", "finding"), *(numbers(name, name) for name in names)]
    rows = [
        [word(name), *map(number, counts)]
        for name, counts in zip(names, column.together.films, strict=True)
    ]
    title = f"Films with both findings, {column.name}"
    return table(stem("together", column.name), title, columns, rows)


def sizes_table(column: StoreColumn) -> Table:
    """Return the sizes that films came in, the commonest first."""
    columns = [numbers("height", "height"), numbers("width", "width"), numbers("films", "films")]
    rows = [
        [number(size.height), number(size.width), number(size.films)]
        for size in column.sizes.common
    ]
    return table(stem("sizes", column.name), f"Commonest sizes, {column.name}", columns, rows)


def copies_table(copies: CopyCounts) -> Table:
    """Return how many pairs of copies there are in and between stores."""
    columns = [
        words("films of", "stores"),
        numbers("equal pairs", "exact"),
        numbers("equal, other patient", "exact_other_patient"),
        numbers("near pairs", "near"),
        numbers("near, other patient", "near_other_patient"),
    ]
    rows = []
    for pair in copies.pairs:
        first, second = pair.stores
        counts = (pair.exact, pair.exact_other_patient, pair.near, pair.near_other_patient)
        stores = first if first == second else f"{first} and {second}"
        rows.append([word(stores), *map(number, counts)])
    return table("copies", "Pairs of copies", columns, rows)


def leaks_table(leaks: Mapping[str, Mapping[str, int]]) -> Table:
    """Return for every split how many of its films have a copy in which split."""
    splits = [name for name in PARTS_SHOWN if any(leaks[name].values())]
    heads = ["copy in no split" if name == OUTSIDE else f"copy in {name}" for name in splits]
    columns = [
        words("films of", "part"),
        *(numbers(head, head.replace(" ", "_")) for head in heads),
    ]
    rows = []
    for name in splits:
        cells = [word(split_name(name))]
        for other in splits:
            cell = number(leaks[name][other])
            leaks_out = name != other and OUTSIDE not in (name, other)
            marked = leaks[name][other] and leaks_out
            cells.append(replace(cell, style="missed") if marked else cell)
        rows.append(cells)
    return table("copies-by-part", "Films that have a copy, by split", columns, rows)


def probe_names(check: ShortcutCheck) -> list[str]:
    """Return the probes in their own order; on file they are sorted."""
    return [name for name in PROBES if name in check.probes]


def shortcuts_table(check: ShortcutCheck) -> Table:
    """Return the AUROC of every probe on every finding, with the model's."""
    names = probe_names(check)
    columns = [words("finding", "finding"), *(estimates(name, name) for name in names)]
    columns += [estimates("the run", "run")] if check.model is not None else []
    rows: list[Sequence[Cell]] = []
    for finding in check.findings:
        flagged = {flag.probe for flag in check.flags if flag.finding == finding}
        cells = []
        for name in names:
            cell = estimate(check.probes[name].auroc[finding])
            if name in flagged:
                cell = replace(cell, text=f"{cell.text} \u2691", style="missed")
            cells.append(cell)
        cells += [estimate(check.model.get(finding))] if check.model is not None else []
        untested = "not tested" if finding in check.untested else ""
        rows.append([word(finding, small=untested), *cells])
    title = f"AUROC of the probes, {check.name}"
    return table(stem("shortcuts", check.name), title, columns, rows)
