"""The tables of a data card's page; each is a CSV file too."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hilum.labels import POLICIES
from hilum.pages.card.read import Card
from hilum.pages.tables import Cell, Table, estimate, estimates, number, numbers, table, word, words
from hilum.pages.wording import counted
from hilum.splits import PARTS
from hilum.workflows.card.leakage import OUTSIDE, PARTS_SHOWN
from hilum.workflows.card.shortcut_probes import PROBES

ENHANCED = {"paper": "denoised and equalised", "clahe": "equalised locally", "none": "not enhanced"}
OWN_PARTS = tuple(part for part in PARTS if part != "all")
UNSEEN = "-"

Column = Mapping[str, Any]


def stem(*words_of_it: str) -> str:
    """Return a file's stem from words that a user may have chosen.

    >>> stem("labels", "../My Store")
    'labels-My-Store'
    """
    return "-".join(re.sub(r"\W+", "-", one).strip("-") or "store" for one in words_of_it)


def share(value: float | None) -> Cell:
    """Return a share in percent.

    >>> share(0.0244).text, share(None).text
    ('2.4%', 'not available')
    """
    return number(value, "{:.1%}")


def overview(card: Card) -> Table:
    """Return what is counted of every store, a column each and all together."""
    rows = [
        [word(fact), *(cell(column) for column in card["columns"])] for fact, cell in _FACTS.items()
    ]
    columns = [words("", "fact"), *(numbers(one["name"], one["name"]) for one in card["columns"])]
    return table("films", "Counts of the stores", columns, rows)


def _films_of_a_patient(column: Column) -> Cell:
    found = column["films_per_patient"]
    return Cell(f"{found['median']:g}", (found["median"],), f"at most {found['most']:,}")


def _studies(column: Column) -> Cell:
    return (
        number(column["studies"])
        if column["studies"] is not None
        else Cell("not named", (None,), style="soft")
    )


def _tallied(counts: Mapping[str, int]) -> Cell:
    said = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
    return Cell(f"{sum(counts.values()):,}", (sum(counts.values()),), said if len(counts) else "")


def _ages(column: Column) -> Cell:
    found = column["ages"]
    if found["median"] is None:
        return Cell("not stated", (None,), style="soft")
    slips = f", {counted(found['unlikely'], 'age')} above 120" if found["unlikely"] else ""
    return Cell(
        f"{found['median']:g}",
        (found["median"],),
        f"5% to 95%: {found['p5']:g} to {found['p95']:g}{slips}",
    )


def _mix(kind: str) -> Any:
    def cell(column: Column) -> Cell:
        counts = {name: count for name, count in ordered(column[kind]).items() if count}
        said = ", ".join(f"{name} {count / column['films']:.0%}" for name, count in counts.items())
        return Cell(said or UNSEEN, (said,))

    return cell


def _sizes(column: Column) -> Cell:
    found = column["sizes"]
    if not found["known"]:
        return Cell("not recorded", (None,), "prepare again to record it", "soft")
    low, high = found["shortest_side"]
    sides = f"{low:,} px" if low == high else f"{low:,} to {high:,} px"
    return Cell(
        sides,
        (sides,),
        f"{counted(found['different'], 'size')}, {found['square'] / found['known']:.0%} square",
    )


def _spread(name: str) -> Any:
    def cell(column: Column) -> Cell:
        found = column["greys"][name]
        return Cell(
            f"{found['median']:.0f}",
            (found["median"],),
            f"5% to 95%: {found['p5']:.0f} to {found['p95']:.0f}",
        )

    return cell


_FACTS = {
    "films": lambda column: number(column["films"]),
    "patients": lambda column: number(column["patients"]),
    "studies": _studies,
    "films of a patient, median": _films_of_a_patient,
    "rows of the source's tables": lambda column: number(column["rows"]["read"]),
    "rows left out": lambda column: _tallied(column["rows"]["excluded"]),
    "films that could not be read": lambda column: _tallied(column["rows"]["failed"]),
    "findings that its source states": lambda column: number(len(column["labels"])),
    "films with no finding present": lambda column: share(
        column["together"]["none_present"] / column["films"]
    ),
    "sex": _mix("sexes"),
    "age in years, median": _ages,
    "view": _mix("views"),
    "shorter side of the films as they came": _sizes,
    "mean grey of a film (0 to 255), median": _spread("mean"),
    "contrast of a film (standard deviation), median": _spread("contrast"),
    "pixels that are black": lambda column: share(column["greys"]["black"]),
    "pixels that are white": lambda column: share(column["greys"]["white"]),
}


def ordered(counts: Mapping[str, int]) -> dict[str, int]:
    """Return counts by name, what is not stated last."""
    return {
        name: counts[name] for name in sorted(counts, key=lambda name: (name == "not stated", name))
    }


def findings_of(column: Column) -> list[str]:
    """Return the findings that a column's sources state, in their own order; on file they are sorted."""
    return [name for name in column["together"]["findings"] if name in column["labels"]]


def prevalence_table(card: Card) -> Table:
    """Return the share of films on which each finding is stated as present, store beside store."""
    findings = findings_of(card.whole)
    columns = [words("finding", "finding")]
    for column in card["columns"]:
        columns += [numbers(column["name"], f"{column['name']}_share")]
        columns += [
            numbers("films", f"{column['name']}_films"),
            numbers("patients", f"{column['name']}_patients"),
        ]
    rows = [
        [word(name), *(cell for column in card["columns"] for cell in _present(column, name))]
        for name in findings
    ]
    return table("prevalence", "Films on which each finding is present", columns, rows)


def _present(column: Column, finding: str) -> list[Cell]:
    found = column["labels"].get(finding)
    if found is None:
        return [Cell("not labelled", (None,), style="soft"), Cell("", (None,)), Cell("", (None,))]
    labelled = column["films"] - found["not_labelled"]
    return [
        share(found["present"] / labelled),
        number(found["present"]),
        number(found["patients_present"]),
    ]


def has_uncertain(column: Column) -> bool:
    """Whether a label of a column is uncertain."""
    return any(found["uncertain"] for found in column["labels"].values())


def policy_table(column: Column) -> Table:
    """Return the share of films that training takes as having each finding, by what uncertain labels become."""
    policies = [
        name for name in POLICIES if name in next(iter(column["labels"].values()))["prevalence"]
    ]
    columns = [
        words("finding", "finding"),
        *(
            numbers(kind.replace("_", " "), kind)
            for kind in ("present", "uncertain", "absent", "not_stated")
        ),
        *(numbers(policy, policy) for policy in policies),
        numbers("stated only", "stated_only"),
    ]
    rows = [
        [
            word(name),
            *(number(found[kind]) for kind in ("present", "uncertain", "absent", "not_stated")),
            *(share(found["prevalence"][policy]) for policy in [*policies, "stated only"]),
        ]
        for name in findings_of(column)
        for found in [column["labels"][name]]
    ]
    return table(
        stem("policies", column["name"]),
        f"Labels and prevalence by policy, {column['name']}",
        columns,
        rows,
    )


def parts_table(card: Card) -> Table:
    """Return films and patients of every part of every store."""
    columns = [words("part", "part")]
    for column in card["columns"]:
        name, of = column["name"], f", {column['name']}" if len(card["columns"]) > 1 else ""
        columns += [
            numbers(f"films{of}", f"{name}_films"),
            numbers(f"patients{of}", f"{name}_patients"),
        ]
    rows = []
    for part in (*OWN_PARTS, "left_out"):
        found = [column["parts"][part] for column in card["columns"]]
        if any(one["films"] for one in found):
            cells = [cell for one in found for cell in (number(one["films"]), _patients(one))]
            rows.append([word(OUTSIDE if part == "left_out" else part), *cells])
    return table("parts", "Films and patients of each part", columns, rows)


def _patients(part: Mapping[str, Any]) -> Cell:
    return number(part["patients"]) if "patients" in part else Cell("", (None,))


def part_prevalence_table(column: Column) -> Table:
    """Return on which share of each part's films every finding is present, of those whose source states it."""
    parts = [part for part in OWN_PARTS if column["parts"][part]["films"]]
    columns = [words("finding", "finding")]
    for part in parts:
        columns += [numbers(part, f"{part}_share"), numbers("films", f"{part}_films")]
    rows = []
    for name in findings_of(column):
        found = [
            [column["parts"][part][kind][name] for kind in ("present", "labelled")]
            for part in parts
        ]
        shares = [
            (share(count / films if films else None), number(count)) for count, films in found
        ]
        rows.append([word(name), *(cell for pair in shares for cell in pair)])
    return table(
        stem("parts", column["name"]), f"Findings by part, {column['name']}", columns, rows
    )


def together_table(column: Column) -> Table:
    """Return on how many films every two findings are present both."""
    names = column["together"]["findings"]
    columns = [words("finding", "finding"), *(numbers(name, name) for name in names)]
    counts: Sequence[Sequence[int]] = column["together"]["films"]
    rows = [[word(name), *map(number, line)] for name, line in zip(names, counts, strict=True)]
    return table(
        stem("together", column["name"]),
        f"Films with both findings, {column['name']}",
        columns,
        rows,
    )


def sizes_table(column: Column) -> Table:
    """Return the sizes that films came in, the commonest first."""
    columns = [numbers("height", "height"), numbers("width", "width"), numbers("films", "films")]
    rows = [
        [number(one["height"]), number(one["width"]), number(one["films"])]
        for one in column["sizes"]["common"]
    ]
    return table(stem("sizes", column["name"]), f"Commonest sizes, {column['name']}", columns, rows)


def copies_table(card: Card) -> Table:
    """Return how many pairs of copies there are in and between stores."""
    columns = [
        words("films of", "stores"),
        numbers("equal pairs", "exact"),
        numbers("equal, other patient", "exact_other_patient"),
        numbers("near pairs", "near"),
        numbers("near, other patient", "near_other_patient"),
    ]
    rows = []
    for one in card["copies"]["pairs"]:
        first, second = one["stores"]
        cells = [number(one[column.names[0]]) for column in columns[1:]]
        rows.append([word(first if first == second else f"{first} and {second}"), *cells])
    return table("copies", "Pairs of copies", columns, rows)


def leaks_of(copies: Mapping[str, Any]) -> Table:
    """Return for every part how many of its films have a copy in which part."""
    found = copies["leaks"]
    parts = [part for part in PARTS_SHOWN if any(found[part].values())]
    heads = ["copy in no part" if part == OUTSIDE else f"copy in {part}" for part in parts]
    columns = [
        words("films of", "part"),
        *(numbers(head, head.replace(" ", "_")) for head in heads),
    ]
    rows = [
        [word(part), *(_leak(found[part][other], part, other) for other in parts)] for part in parts
    ]
    return table("copies-by-part", "Films that have a copy, by part", columns, rows)


def _leak(count: int, part: str, other: str) -> Cell:
    cell = number(count)
    return (
        Cell(cell.text, cell.values, style="missed")
        if count and part != other and OUTSIDE not in (part, other)
        else cell
    )


def probe_names(found: Mapping[str, Any]) -> list[str]:
    """Return the probes in their own order; on file they are sorted."""
    return [name for name in PROBES if name in found["probes"]]


def shortcuts_table(found: Mapping[str, Any]) -> Table:
    """Return the AUROC of every probe on every finding, beside the model's."""
    probes = found["probes"]
    names = probe_names(found)
    columns = [words("finding", "finding"), *(estimates(name, name) for name in names)]
    columns += [estimates("the run", "run")] if found["model"] is not None else []
    rows = []
    for finding in found["findings"]:
        flagged = {flag["probe"] for flag in found["flags"] if flag["finding"] == finding}
        cells = [
            _flagged(estimate(probes[name]["auroc"][finding]), name in flagged) for name in names
        ]
        cells += [estimate(found["model"].get(finding))] if found["model"] is not None else []
        rows.append([word(finding), *cells])
    return table(
        stem("shortcuts", found["name"]), f"AUROC of the probes, {found['name']}", columns, rows
    )


def _flagged(cell: Cell, flagged: bool) -> Cell:
    return Cell(f"{cell.text} \u2691", cell.values, cell.small, "missed") if flagged else cell
