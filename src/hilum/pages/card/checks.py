"""What was checked of the films, in sentences: problems, what is clean, and what could not be tested and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hilum.counts import counted
from hilum.pages.wording import listed
from hilum.workflows.card.column_record import StoreColumn
from hilum.workflows.card.outliers import FEWEST
from hilum.workflows.card.record import CardRecord, CopyCounts, PatientOverlap, ShortcutCheck


@dataclass(frozen=True)
class Check:
    """The result of one check: a sentence, and the page's section that has more."""

    section: str
    text: str
    wrong: bool = False
    """Whether it is a problem. What was not tested is none, and its sentence says "not tested"."""


def card_checks(card: CardRecord) -> Iterator[Check]:
    """Yield every check of a data card, in the order of its page."""
    films = {column.name: (column.films, column.patients) for column in card.own}
    splits = sum(
        card.whole.parts[name].films > 0 for name in card.whole.parts if name != "left_out"
    )
    yield patients_check(card.patients, films, splits)
    yield copies_check(card.copies)
    yield from shortcut_checks(card.shortcuts)
    if untested := metadata_untested(card.whole):
        yield Check("shortcuts", untested)
    yield outlier_check({name: count for name, (count, _) in films.items()}, card.outliers.films)
    yield label_issues_check(card)


def patients_check(
    overlap: PatientOverlap, stores: Mapping[str, tuple[int, int]], splits: int
) -> Check:
    """Return whether patients are in several splits.

    Args:
        overlap: What was counted.
        stores: Films and patients of each store, by name.
        splits: How many splits have films.
    """
    if overlap.in_several_parts:
        patients = counted(overlap.in_several_parts, "patient")
        are = "is" if overlap.in_several_parts == 1 else "are"
        return Check("splits", f"{patients} {are} in several splits.", True)
    if splits < 2:
        return Check(
            "splits", "Patients in several splits: not tested: all films are in one split."
        )
    # A source that names no patients counts every film as a patient of its own.
    single = [name for name, (films, patients) in stores.items() if films == patients]
    if len(single) == len(stores) and not overlap.in_several_stores:
        reason = "every film counts as a patient of its own"
        return Check("splits", f"Patients in several splits: not tested: {reason}.")
    text = "No patient is in several splits."
    if single:
        text += f" Not tested: {listed(single)}, where every film counts as a patient of its own."
    return Check("splits", text)


def copies_check(copies: CopyCounts) -> Check:
    """Return whether films occur more than once, and across splits."""
    if copies.straddling:
        groups = counted(copies.straddling, "group")
        verb = "is" if copies.straddling == 1 else "are"
        return Check("copies", f"{groups} of copies {verb} in several splits: a leak.", True)
    if copies.groups:
        films = counted(copies.films, "film")
        verb = "is a copy" if copies.films == 1 else "are copies"
        return Check("copies", f"{films} {verb} of another, all within one split.")
    if copies.notes:  # the search was cut short
        return Check("copies", f"No copy was found. Not all was tested: {'; '.join(copies.notes)}.")
    return Check("copies", "No film occurs twice.")


def outlier_check(films: Mapping[str, int], outliers: int) -> Check:
    """Return whether outlier images were found, from the number of films in each store."""
    few = [name for name, count in films.items() if count < FEWEST]
    needed = f"fewer than {FEWEST} films, of which only blank ones are found (from 48 px on inverted ones too)"
    if outliers:
        text = f"{counted(outliers, 'film')} may be rotated, inverted or no chest radiograph."
    elif len(few) == len(films):
        return Check("outliers", f"Outlier images: not tested: {needed}.")
    else:
        text = "No film looks rotated, inverted or like no chest radiograph."
    if few:
        text += f" Not tested: {listed(few)} ({needed})."
    return Check("outliers", text, bool(outliers))


def shortcut_checks(checks: tuple[ShortcutCheck, ...]) -> Iterator[Check]:
    """Yield what the shortcut probes flag in each column, and which findings could not be tested."""
    for check in checks:
        where = f" in {check.name}" if len(checks) > 1 else ""
        if check.why_untested:
            yield Check("shortcuts", f"Shortcuts{where}: not tested: {check.why_untested}.")
            continue
        untested = (
            f" Not tested: {listed(list(check.untested))} (each needs {check.needed})."
            if check.untested
            else ""
        )
        if check.flags:
            flags = listed([f"{flag.finding} ({flag.probe})" for flag in check.flags])
            yield Check("shortcuts", f"Possible shortcuts{where}: {flags}.{untested}", True)
        else:
            tested = counted(len(check.findings_judged), "finding")
            text = f"No shortcut is flagged for {tested} tested{where}.{untested}"
            yield Check("shortcuts", text)


def metadata_untested(column: StoreColumn) -> str | None:
    """Return that the probe of age, sex and view had nothing to learn from; None where it had."""
    stated = column.ages.stated or any(
        count
        for counts in (column.sexes, column.views)
        for name, count in counts.items()
        if name != "not stated"
    )
    if stated:
        return None
    return "Shortcuts by age, sex and view: not tested: no film states any of them."


def label_issues_check(card: CardRecord) -> Check:
    """Return how many labels are to be read again, or why none was looked for."""
    if card.label_issues is None:
        return Check("label-issues", "Label issues: not tested: no run was given (--from RUN).")
    if not card.whole.labels:
        return Check("label-issues", "Label issues: not tested: no finding is labelled.")
    options = card.made_of.options
    if options.get("label_issues", options.get("hints")) == 0:
        return Check("label-issues", "Label issues: not tested: --label-issues is 0.")
    if not card.label_issues.labels:
        return Check("label-issues", "No label contradicts those of similar films.")
    verb = "is" if card.label_issues.labels == 1 else "are"
    labels = counted(card.label_issues.labels, "label")
    return Check("label-issues", f"{labels} {verb} listed for a second reading.")
