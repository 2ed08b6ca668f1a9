"""What each section of a data card's page is filled with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from hilum.pages.card.read import Card
from hilum.pages.card.tables import (
    ENHANCED,
    copies_table,
    findings_of,
    has_uncertain,
    leaks_of,
    ordered,
    overview,
    part_prevalence_table,
    parts_table,
    policy_table,
    prevalence_table,
    probe_names,
    shortcuts_table,
    sizes_table,
    together_table,
)
from hilum.pages.charts.bars import bars, matrix
from hilum.pages.charts.curves import Line, curves
from hilum.pages.charts.dots import Measured, dots, label_shares
from hilum.pages.charts.intervals import key
from hilum.pages.charts.svg import domain
from hilum.pages.wording import counted, listed
from hilum.workflows.card.leakage import LISTS
from hilum.workflows.card.statistics import KINDS

VIEWS = {"PA": "PA", "AP": "AP", "LATERAL": "lateral"}
LABELS = {1.0: "present", 0.0: "absent", -1.0: "uncertain", None: "not stated"}
MODEL = "the run"
NOTHING_ODD = "No film looks turned, negative or like no chest film."

Column = Mapping[str, Any]


def card_sections(card: Card) -> dict[str, Any]:
    """Return everything that a card's page shows, by the names that its template uses."""
    return {
        "card": card,
        "whole": card.whole,
        "several": len(card.own) > 1,
        "looks": list(attention(card)),
        "key": key(card.names),
        "films": overview(card),
        "people": people(card),
        "sizes": [sizes_table(column) for column in card.own if column["sizes"]["known"]],
        "prevalence": prevalence_table(card) if card.whole["labels"] else None,
        "labels": [labels(column) for column in card.own if column["labels"]],
        "policies": [policies(column) for column in card["columns"] if column["labels"]],
        "together": [
            co_occurrence(column)
            for column in card["columns"]
            if len(column["together"]["findings"]) > 1
        ],
        "greys": greys(card),
        "means": [
            (column["name"], card.picture(column["mean_film"]), column["greys"]["films"])
            for column in card.own
        ],
        "samples": [samples(card, store) for store in card["stores"]],
        "enhancement": [steps(card, store) for store in card["stores"]],
        "parts": parts_table(card),
        "part_tables": [
            part_prevalence_table(column) for column in card["columns"] if column["labels"]
        ],
        "copies": copies(card),
        "strangers": {
            **card["strangers"],
            "shown": [shown(card, one) for one in card["strangers"]["shown"]],
        },
        "hints": hints(card),
        "shortcuts": [shortcuts(found) for found in card["shortcuts"]],
        "probes": next(map(rule, probed(card)), None),
        "lists": LISTS,
        "repeat": repeat(card),
        "hashes": list(hashes(card)),
    }


def attention(card: Card) -> Iterator[tuple[str, str, bool]]:
    """Yield what to look at first: the section's id, the sentence, and whether something is wrong there."""
    straddling, several = card["copies"]["straddling"], card["patients"]["in_several_parts"]
    if several:
        yield "parts", f"{counted(several, 'patient')} stand in several parts.", True
    if straddling:
        yield (
            "copies",
            f"{counted(straddling, 'group')} of copies stand in several parts: a leak.",
            True,
        )
    elif card["copies"]["films"]:
        found = counted(card["copies"]["films"], "film")
        yield "copies", f"{found} are copies of another, all within their part.", False
    else:
        yield "copies", "No film is there twice.", False
    yield from _flagged(card)
    odd = card["strangers"]["films"]
    yield (
        "strangers",
        f"{counted(odd, 'film')} may be turned, negative or no chest film." if odd else NOTHING_ODD,
        bool(odd),
    )
    if card["hints"]:
        labels_listed = counted(card["hints"]["labels"], "label")
        yield "hints", f"{labels_listed} are on the work list for a second reading.", False


def _flagged(card: Card) -> Iterator[tuple[str, str, bool]]:
    flagged = [one for one in probed(card) if one["flags"]]
    for one in flagged:
        names = [f"{flag['finding']} ({flag['probe']})" for flag in one["flags"]]
        where = f" in {one['name']}" if len(card.own) > 1 else ""
        yield "shortcuts", f"Possible shortcuts{where}: {listed(names)}.", True
    if probed(card) and not flagged:
        yield "shortcuts", "No shortcut is flagged.", False


def probed(card: Card) -> list[Mapping[str, Any]]:
    """Return what the shortcut probes found, of the columns that could be probed."""
    return [found for found in card["shortcuts"] if not found["reason"]]


def people(card: Card) -> dict[str, Markup | None]:
    """Return the charts of who is on the films; None where nothing is stated."""
    return {
        "films_per_patient": _bars(
            card, "Patients by their number of films", "films of a patient", "patients",
            lambda column: {_short(one["films"]): one["patients"] for one in column["films_per_patient"]["bars"]},
        ),
        "ages": _bars(
            card, "Films by age", "years, by decade", "films of stated age",
            lambda column: {_decade(one["years"]): one["films"] for one in column["ages"]["bars"]},
        ),
        "sexes": _bars(card, "Films by sex", "sex", "films", _sexes),
        "views": _bars(card, "Films by view position", "view position", "films", _views),
    }  # fmt: skip


def _sexes(column: Column) -> dict[str, int]:
    return {name: count for name, count in ordered(column["sexes"]).items() if count}


def _views(column: Column) -> dict[str, int]:
    return {
        VIEWS.get(name, name): count for name, count in ordered(column["views"]).items() if count
    }


def _bars(card: Card, title: str, below: str, beside: str, counts: Any) -> Markup | None:
    found = {column["name"]: counts(column) for column in card.own}
    names = sorted(
        dict.fromkeys(name for one in found.values() for name in one),
        key=lambda name: name == "not stated",
    )
    if not any(sum(one.values()) for one in found.values()):
        return None
    series = {which: _shares([one.get(name, 0) for name in names]) for which, one in found.items()}
    return bars(title, names, series, below, f"share of {beside}")


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts)
    return [count / total if total else 0.0 for count in counts]


def _short(words: str) -> str:
    """Return a range of numbers as a chart has room for.

    >>> _short("6 to 10"), _short("51 or more")
    ('6–10', '51+')
    """
    return words.replace(" to ", "\u2013").replace(" or more", "+")


def _decade(words: str) -> str:
    """Return the beginning of a decade.

    >>> _decade("40 to 49"), _decade("90 or older")
    ('40', '90+')
    """
    return words.replace(" or older", "+").partition(" ")[0]


def labels(column: Column) -> dict[str, Any]:
    """Return the chart of what a column's labels say, of the films that its sources label."""
    names = findings_of(column)
    kinds = {**dict.fromkeys(KINDS), "not stated": None}
    shares: dict[str, list[float]] = {kind: [] for kind in kinds}
    for name in names:
        found = column["labels"][name]
        labelled = max(column["films"] - found["not_labelled"], 1)
        for kind in kinds:
            shares[kind].append(found[kind.replace(" ", "_")] / labelled)
    return {"name": column["name"], "chart": label_shares(names, shares)}


def policies(column: Column) -> dict[str, Any]:
    """Return the table of policies, and whether they differ at all."""
    return {
        "name": column["name"],
        "table": policy_table(column),
        "uncertain": has_uncertain(column),
    }


def co_occurrence(column: Column) -> dict[str, Any]:
    """Return the chart of which findings go with which: of films with the row's finding, those with the column's."""
    found = column["together"]
    names, pairs = found["findings"], zip(found["films"], found["of"], strict=True)
    shares = [
        [
            both / of if of and other != place else None
            for other, (both, of) in enumerate(zip(*lines, strict=True))
        ]
        for place, lines in enumerate(pairs)
    ]
    title = f"Share of the films with one finding that have another too, {column['name']}"
    return {
        "name": column["name"],
        "chart": matrix(title, names, shares),
        "table": together_table(column),
    }


def greys(card: Card) -> Markup:
    """Return the curves of the stores' grey values."""
    lines = []
    for place, column in enumerate(card.own):
        shares = column["greys"]["shares"]
        width = 256 / len(shares)
        lines.append(
            Line(
                column["name"],
                place,
                [((n + 0.5) * width, share) for n, share in enumerate(shares)],
            )
        )
    return curves(lines, "grey value", "share of the pixels", form="{:.1%}", shown=(0.0,))


def samples(card: Card, store: Mapping[str, Any]) -> dict[str, Any]:
    """Return a store's sample films with their labels."""
    films = [
        {
            **one,
            "picture": card.picture(one["picture"]),
            "view": VIEWS.get(one["view"], one["view"] or "view not stated"),
        }
        for one in store["samples"]
    ]
    return {"name": store["source"], "films": films}


def steps(card: Card, store: Mapping[str, Any]) -> dict[str, Any]:
    """Return films of a store before and after enhancement."""
    done = store["preparation"]["enhance"]
    films = [
        [(card.picture(step["picture"]), _step(step["enhance"], done)) for step in one]
        for one in store["enhancement"]
    ]
    return {
        "name": store["source"],
        "done": ENHANCED.get(done, done),
        "enhanced": done != "none",
        "films": films,
    }


def _step(enhance: str, done: str) -> str:
    words = ENHANCED.get(enhance, enhance)
    if enhance == done:
        return f"As stored: {words}"
    return f"Before: {words}" if enhance == "none" else f"For comparison only: {words}"


def copies(card: Card) -> dict[str, Any]:
    """Return what is said of copies, with pictures of some pairs."""
    found = card["copies"]
    pairs = [
        {**one, "pictures": [card.picture(name) for name in one["pictures"]]}
        for one in found["shown"]
    ]
    tables = {"table": copies_table(card), "leaks": leaks_of(found) if found["groups"] else None}
    return {**found, **tables, "shown": pairs}


def shown(card: Card, one: Mapping[str, Any]) -> dict[str, Any]:
    """Return a listed film with its picture."""
    return {**one, "picture": card.picture(one["picture"])}


def hints(card: Card) -> dict[str, Any] | None:
    """Return the head of the work list; None where no run was given."""
    found = card["hints"]
    if found is None:
        return None
    lines = [
        {**shown(card, one), "label": LABELS.get(one["label"], "not stated")}
        for one in found["shown"]
    ]
    return {**found, "shown": lines}


def shortcuts(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the probes' AUROCs as a chart and a table, and what is flagged."""
    if found["reason"]:
        return dict(found)
    readers = {name: found["probes"][name]["auroc"] for name in probe_names(found)}
    if found["model"] is not None:
        readers[MODEL] = found["model"]
    judged = [name for name in found["findings"] if name in found["findings_judged"]]
    series = [[_measured(areas.get(name)) for name in judged] for areas in readers.values()]
    known = [value for one in series for measured in one for value in measured.values()]
    chart = dots(judged, series, list(readers), domain([*known, 0.4, 0.8], 0.1)) if judged else None
    more = {"chart": chart, "key": key(list(readers)), "table": shortcuts_table(found)}
    return {
        **found,
        **more,
        "not_judged": [name for name in found["findings"] if name not in judged],
    }


def rule(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what each probe sees, and the rule that flags."""
    return {
        "sees": [(name, found["probes"][name]["sees"]) for name in probe_names(found)],
        "rule": found["rule"],
    }


def _measured(told: Mapping[str, Any] | None) -> Measured:
    return Measured(None) if told is None else Measured.of(told["value"], told["interval"])


def repeat(card: Card) -> str:
    """Return the command that makes such a card again."""
    told = card["made_of"]["options"]
    words = " ".join(
        f"--{name} {value}" for name, value in sorted(told.items()) if name != "annotations"
    )
    stores = (
        " ".join(f"STORE-{place + 1}" for place in range(len(card.own)))
        if len(card.own) > 1
        else "STORE"
    )
    run = " --from RUN" if card["made_of"]["from"] else ""
    return f"hilum card {stores} --out NEW{run} {words}"


def hashes(card: Card) -> Iterator[tuple[str, str]]:
    """Yield the hashes of what went in."""
    for name, one in zip(card.names, card["made_of"]["stores"], strict=True):
        yield f"data, {name}", one["fingerprint"]
        yield f"split of {name}", one["split"]
    if card["made_of"]["from"]:
        yield "weights of the run", card["made_of"]["from"]
