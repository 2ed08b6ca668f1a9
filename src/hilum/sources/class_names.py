"""Names of classes that are none: words of no knowledge, values within the name, denials of another class."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from hilum.arrays import FloatArray
from hilum.catalog import PRESENT
from hilum.counts import counted
from hilum.errors import DataError
from hilum.findings import canonical
from hilum.sources import tables
from hilum.sources.folder_options import FolderOptions

_UNKNOWN = {
    "unknown", "unk", "unsure", "unclear", "uncertain", "undetermined", "undefined", "unspecified",
    "unlabeled", "unlabelled", "unannotated", "unclassified", "nolabel", "notlabeled", "notlabelled",
    "todo", "tbd", "pending", "missing", "notavailable", "notapplicable", "notassessed", "notmentioned",
    "notstated", "nan", "na", "none", "null",
}  # fmt: skip
"""Words, their letters alone, that say that nothing is known of a film."""
_NORMAL = {re.sub(r"[\W_]+", "", word) for word in FolderOptions().absent_values}
_VALUE = re.compile(
    r"(?P<name>.*\w.*?)\s*[:=]\s*(?P<value>[+-]?\d+(?:[.,]\d+)?|yes|no|true|false|present|absent|positive|negative)",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"(?:no|non|not|without|negative for|absence of)[\s_-]+(?P<after>.+)|(?P<before>.+?)[\s_-]+(?:negative|absent)",
    re.IGNORECASE,
)


def refuse_no_classes(names: Sequence[str], where: str) -> None:
    """Refuse classes that say that nothing is known of a film, and those that hold a value.

    As findings they would make the others absent in films of which that is not known.

    Args:
        names: Classes that no option names.
        where: The column, or the class folders.

    Raises:
        DataError: Names the first ones and the options that say what they are.
    """
    unknown = [
        name for name in names if _letters(name) in _UNKNOWN or not re.search(r"[\w+]", name)
    ]
    if unknown:
        given = " ".join(shlex.quote(name[:80]) for name in unknown[:4])
        raise DataError(
            f"{where}: {tables.show(unknown[0])} seems to say that nothing is known of a film: give "
            f"--unstated-values {given} if so, --absent-values if it means no finding, or --mapping with the "
            "finding's name if it is one."
        )
    normal = next((name for name in names if _letters(name).removesuffix("s") in _NORMAL), "")
    if normal:
        raise DataError(
            f"{where}: {tables.show(normal)} is none of the --absent-values that were given: add it if it means no "
            "finding, or give --mapping with its name if it is a finding."
        )
    for name in names:
        match = _VALUE.fullmatch(name)
        if match or re.match(r"\{.*:", name, re.DOTALL):
            held = f"the value {match['value']!r}" if match else "names with values"
            raise DataError(
                f"{where}: the class {tables.show(name)} holds {held}: write a column of 1 and 0 for each "
                "finding and give --finding-columns, or a line for each finding of a film and give --value-column; "
                "--mapping with a name if it is one finding."
            )


def denial_notes(names: Sequence[str], findings: Sequence[str]) -> tuple[str, ...]:
    """Return a note on classes that deny another one, or a finding of the vocabularies.

    >>> denial_notes(["tb", "no_tb"], ["tb", "no_tb"])[0][:70]
    "'no_tb' seems to say that there is no 'tb', and counts as a finding of"
    """
    others = {_letters(name): name for name in findings}
    for name in names:
        match = _DENIED.fullmatch(name)
        denied = (match["after"] or match["before"]) if match else ""
        other = canonical(denied) or others.get(_letters(denied)) if denied else None
        if other:
            return (
                f"{name!r} seems to say that there is no {other!r}, and counts as a finding of its own: give "
                f"--absent-values {shlex.quote(name[:80])} if its films have no finding",
            )
    return ()


def none_notes(cells: pd.Series, words: frozenset[str]) -> tuple[str, ...]:
    """Return a note on cells that say None, which state nothing, for they may mean no finding."""
    count = int((cells.str.strip().str.lower() == "none").sum()) if "none" in words else 0
    if not count:
        return ()
    return (
        f"{counted(count, 'cell')} of {cells.name!r} {'says' if count == 1 else 'say'} None and "
        f"{'states' if count == 1 else 'state'} nothing: give --absent-values None if it means no finding",
    )


def unread_values(cells: pd.DataFrame, read: Collection[str]) -> tuple[str, ...]:
    """Return a note on the first column of 0 and 1 that is not read, in a table with a row for each class of a film."""
    for column in cells.columns:
        if column in read:
            continue
        values = cells[column].dropna().unique()
        if {*map(tables.fold, map(str, values))} in ({"0", "1"}, {"0", "1", "-1"}):
            return (
                f"column {tables.show(column)} of 0 and 1 is not read: give --value-column {shlex.quote(column)} if it "
                "says whether the class of its row is present",
            )
    return ()


def refuse_all_present(
    labels: Mapping[str, FloatArray], options: FolderOptions, table: str
) -> None:
    """Refuse classes of a column that every film has, which tell no films apart.

    Raises:
        DataError: There are several classes and films, and none is absent anywhere.
    """
    if not options.label_column or options.value_column:
        return
    columns = list(labels.values())
    if len(columns) > 1 and len(columns[0]) > 1 and all((c == PRESENT).all() for c in columns):
        names = ", ".join(list(labels)[:5])
        raise DataError(
            f"{table}, column {options.label_column!r} gives every film all of {names}: if another column says which "
            "of them are present, give --value-column; else leave labels out."
        )


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())
