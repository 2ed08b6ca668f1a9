"""Labels of a folder's table or class folders: columns of one finding each, or the classes of every film."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from hilum.arrays import FloatArray
from hilum.catalog import ABSENT, ARCHIVE_COLUMNS, FILM_COLUMNS, PRESENT, UNCERTAIN
from hilum.counts import counted
from hilum.errors import DataError, OptionError, did_you_mean
from hilum.findings import canonical
from hilum.sources import tables
from hilum.sources.class_names import (
    denial_notes,
    none_notes,
    refuse_no_classes,
    unread_values,
)
from hilum.sources.folder_options import FolderOptions, Notes
from hilum.sources.lists import list_items

RESERVED = (*FILM_COLUMNS, *ARCHIVE_COLUMNS, "pixels", "height", "width", "films")
"""Names that no finding can have: the catalogue's own columns."""

NO_FINDING = "No Finding"
SIGNS = (",", ";", "|", "/", "+", "&")
"""What separates classes in a cell, beside the separator that was given."""
Findings = dict[str, FloatArray]


def refuse_reserved(findings: Iterable[str]) -> None:
    """Refuse findings with the name of one of the catalogue's own columns.

    Raises:
        OptionError: Names the first.
    """
    for name in findings:
        if name.casefold() in RESERVED:
            raise OptionError(
                f"finding {name!r} has a name that the catalogue uses itself: rename it by --mapping."
            )


def table_labels(cells: pd.DataFrame, options: FolderOptions, table: str) -> tuple[Findings, Notes]:
    """Return labels by finding, [N] each, of the columns that the options name, and notes.

    Raises:
        OptionError: Two columns are one finding, or the mapping names what is not there.
        DataError: A cell is no label, or a list that was cut.
    """
    if options.value_column:
        return _long_labels(cells, options, table)
    if options.label_column:
        column = cells[options.label_column]
        classes, notes = _listed(column, options, table)
        notes += none_notes(column, options.unstated())
        if options.join:
            notes += unread_values(cells, [value for value in vars(options).values() if value])
        findings, more = class_labels(classes, options, f"column {options.label_column!r}")
        return findings, (*notes, *more)
    _check_mapping(options, options.finding_columns)
    labels: Findings = {}
    for column_name in options.finding_columns:
        finding = _finding(column_name, options.mapping)
        if finding in labels:
            raise OptionError(
                f"two columns are the finding {finding!r}, the second {column_name!r}: leave one out."
            )
        if finding:
            labels[finding] = _values(cells[column_name], options, table)
    if labels:
        present = {name: column == PRESENT for name, column in labels.items()}
        normal = present.pop(NO_FINDING, np.zeros(len(cells), bool))
        others = [column for name, column in present.items() if name != "Support Devices"]
        both = int((normal & np.any([normal & False, *others], axis=0)).sum())
        return labels, _contradiction_note(both, NO_FINDING, "both are kept")
    return labels, ("no labels: give --finding-columns or --label-column if the table has any",)


def _values(cells: pd.Series, options: FolderOptions, table: str) -> FloatArray:
    """Return the labels [N] of one finding's column."""
    listed = {
        PRESENT: options.positive_values,
        ABSENT: options.negative_values,
        UNCERTAIN: options.uncertain_values,
    }
    words = {tables.fold(word): value for value, names in listed.items() for word in names}
    parsed = tables.parse_cells(
        cells,
        lambda text: words.get(tables.fold(text), tables.label(text)),
        table,
        _ALLOWED,
        options.unstated(),
    )
    return tables.numbers(*parsed)


def _long_labels(cells: pd.DataFrame, options: FolderOptions, table: str) -> tuple[Findings, Notes]:
    """Return labels by finding, [N] each, of a table with a row for each film and finding."""
    names = cells[options.label_column]
    tables.need_cells(names, table)
    values = _values(cells[options.value_column], options, table)
    codes, uniques = pd.factorize(names.str.strip())
    classes = list(map(str, uniques))
    _check_mapping(options, classes)
    finding, notes = _one_spelling(
        {name: _finding(name, options.mapping) for name in classes},
        [[name] for name in classes],
        options.mapping,
    )
    labels: Findings = {}
    for code, name in enumerate(classes):
        if finding[name]:
            column = labels.setdefault(finding[name], np.full(len(cells), np.nan, np.float32))
            column[codes == code] = values[codes == code]
    return labels, notes


def refuse_stated_twice(keys: pd.Series, labels: Findings, cells: pd.DataFrame, table: str) -> None:
    """Refuse a table with a row for each finding that states one of them twice of a film.

    Args:
        keys: [N] what each row names, as a film's path.
        labels: [N] for each finding.
        cells: [N] the table, for its lines.
        table: Its name, for the error.

    Raises:
        DataError: Names the first such line and the option that joins them.
    """
    for finding, values in labels.items():
        stated = np.flatnonzero(~np.isnan(values))
        twice = keys.iloc[stated].duplicated().to_numpy(bool)
        if twice.any():
            line = tables.line_of(cells, int(stated[twice.argmax()]))
            raise DataError(
                f"{table}, line {line}: {finding} is stated in an earlier line "
                f"too ({counted(int(twice.sum()), 'such line')}): keep one line each, or join them by --join any, "
                "majority or uncertain."
            )


_ALLOWED = (
    "a label: 1, 0, -1 or empty; name other words by --positive-values, --negative-values, "
    "--uncertain-values or --unstated-values; numbers of classes are read by --label-column and --mapping"
)


def _listed(
    cells: pd.Series, options: FolderOptions, table: str
) -> tuple[list[list[str] | None], Notes]:
    """Return each row's classes, None where it states nothing, and a note on cells that hold lists."""
    words = options.unstated()
    codes, uniques = pd.factorize(cells)
    distinct: list[list[str] | None] = []
    lists = np.zeros(len(uniques) + 1, bool)
    for code, cell in enumerate(map(str, uniques)):
        try:
            items = None if tables.is_unstated(cell, words) else list_items(cell)
        except ValueError as error:
            line = tables.line_of(cells, int((codes == code).argmax()))
            raise DataError(
                f"{table}, line {line}: {tables.show(cell)} in column {tables.show(cells.name)} is {error}: "
                "write the table again with whole lists, or with classes between --separator."
            ) from error
        lists[code] = items is not None
        names = cell.split(options.separator) if items is None else items
        distinct.append([name for name in names if not tables.is_unstated(name, words)])
    _refuse_other_separator(distinct, lists, options, table, str(cells.name))
    of_rows = lists[codes]
    classes = [None if code < 0 else distinct[code] for code in codes.tolist()]
    if not of_rows.any():
        return classes, ()
    empty = sum(not classes[row] for row in np.flatnonzero(of_rows).tolist())
    nothing = f"; {counted(empty, 'empty one states', 'empty ones state')} nothing" if empty else ""
    return classes, (
        f"{counted(int(of_rows.sum()), 'cell')} of {cells.name!r} "
        f"{'is read as a list' if of_rows.sum() == 1 else 'are read as lists'}{nothing}",
    )


def _refuse_other_separator(
    distinct: list[list[str] | None],
    lists: npt.NDArray[np.bool_],
    options: FolderOptions,
    table: str,
    column: str,
) -> None:
    """Raise a DataError for a class that is several, all of them known, between other signs than the separator."""
    names = {
        name.strip()
        for of_cell, listed in zip(distinct, lists, strict=False)
        for name in of_cell or ()
        if not listed
    }
    absent = set(map(_letters, options.absent_values))

    def known(part: str) -> bool:
        return bool(part) and (
            canonical(part) is not None or part in names or _letters(part) in absent
        )

    for name in sorted(names - set(options.mapping)):
        for sign in SIGNS:
            parts = [part.strip() for part in name.split(sign)]
            if len(parts) > 1 and sign not in options.separator and all(map(known, parts)):
                raise DataError(
                    f"{table}: {tables.show(name)} in column {tables.show(column)} is {len(parts)} classes: give "
                    f"--separator {sign!r}, or --mapping with a name if it is one."
                )


def class_labels(
    classes: Sequence[Sequence[str] | None], options: FolderOptions, where: str
) -> tuple[Findings, Notes]:
    """Return labels from each film's classes (None: not stated), and a note on the classes that mean no finding."""
    mapping = {_plain(name): finding for name, finding in options.mapping.items()}
    options = replace(options, mapping=mapping)
    cleaned = [
        None if names is None else [_plain(name) for name in names if name.strip()]
        for names in classes
    ]
    seen = sorted({name for names in cleaned for name in names or ()})
    _check_mapping(options, seen)
    listed = (*options.positive_values, *options.negative_values, *options.uncertain_values)
    values = {word.casefold() for word in listed}
    if not options.mapping and seen and all(_is_number(n) or n.casefold() in values for n in seen):
        raise DataError(
            f"{where} holds {', '.join(seen[:5])} where names of classes are read: name each by "
            f"--mapping.{seen[0]} FINDING, or give a column of 1 and 0 by --finding-columns."
        )
    absent = set(map(_letters, options.absent_values))
    normal = [name for name in seen if _letters(name) in absent and name not in options.mapping]
    others = [name for name in seen if name not in normal]
    refuse_no_classes([name for name in others if name not in options.mapping], where)
    finding = {name: _finding(name, options.mapping) for name in others}
    finding, notes = _one_spelling(finding, cleaned, options.mapping)
    findings = sorted({name for name in finding.values() if name})
    if not findings:
        raise DataError(
            f"{where} names no finding, only {', '.join(map(tables.show, seen[:5])) or 'empty cells'}."
        )
    notes += denial_notes([name for name in others if name not in options.mapping], findings)
    labels = {name: np.zeros(len(cleaned), np.float32) for name in findings}
    for row, names in enumerate(cleaned):
        for column in labels.values() if not names else ():
            column[row] = np.nan
        for name in names or ():
            if target := finding.get(name):
                labels[target][row] = PRESENT
    notes += tuple(
        f"{name!r} in {where} means that {', '.join(findings)} {'is' if len(findings) == 1 else 'are'} absent "
        "and is no finding itself"
        for name in normal
    )
    both = sum(
        not {*normal}.isdisjoint(names) and any(map(finding.get, names))
        for names in cleaned
        if names
    )
    notes += _contradiction_note(both, " and ".join(normal), "the finding counts")
    if len(findings) == 1 and all(names and any(map(finding.get, names)) for names in cleaned):
        notes += (f"all films are of the one class {findings[0]!r}",)
    return labels, notes


def _one_spelling(
    finding: dict[str, str], classes: Sequence[Sequence[str] | None], mapping: Mapping[str, str]
) -> tuple[dict[str, str], Notes]:
    """Return findings by class, those that differ in case, spaces or hyphens alone as one, and a note on each.

    ``Covid-19`` and ``covid 19`` are one; ``TB+`` and ``TB-`` are two.
    """
    count = Counter(name for names in classes for name in names or ())
    spellings: dict[str, list[str]] = {}
    for name in sorted(finding, key=lambda name: (name not in mapping, -count[name], name)):
        if finding[name]:
            key = _BETWEEN.sub("", finding[name].casefold())
            spellings.setdefault(key, []).append(finding[name])
    notes = []
    chosen = dict[str, str]()
    for names in spellings.values():
        first, *others = dict.fromkeys(names)
        chosen |= dict.fromkeys((first, *others), first)
        if others:
            notes.append(
                f"{', '.join(map(repr, others))} {'is' if len(others) == 1 else 'are'} taken as {first!r}"
            )
    return {name: chosen.get(target, "") for name, target in finding.items()}, tuple(notes)


_BETWEEN = re.compile(r"(?<=[^\W\d])[\s_-]+(?=\w)|(?<=\d)[\s_-]+(?=[^\W\d])")
"""What may stand between two letters, or a letter and a digit, of a name without making it another."""


def _contradiction_note(films: int, nothing: str, outcome: str) -> Notes:
    """Return a note on films that are stated to have no finding, and one that is present."""
    if not films:
        return ()
    return (
        f"{counted(films, 'film has', 'films have')} {nothing} beside a finding that is present: {outcome}",
    )


def _check_mapping(options: FolderOptions, names: Iterable[str]) -> None:
    for foreign in options.mapping:
        if foreign not in names:
            there = ", ".join(map(tables.show, list(names)[:10])) or "none"
            hint = did_you_mean(foreign, names)
            raise OptionError(
                f"--mapping names {tables.show(foreign)}, which does not occur: there are {there}.{hint}"
            )


def _finding(name: str, mapping: Mapping[str, str]) -> str:
    """Return the finding that a column or class is, or an empty text for one that is left out."""
    finding = mapping.get(name, name).strip()
    return canonical(finding) or finding


def _letters(name: str) -> str:
    """Return a class's name as it is compared with words for no finding: No Findings is no_finding."""
    return re.sub(r"[\W_]+", "", name.casefold()).removesuffix("s")


def _plain(name: str) -> str:
    """Return a class's name without spaces around it; a whole number in one spelling, 1 for 1.0."""
    return tables.fold(name) if _is_number(name) else name.strip()


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True
