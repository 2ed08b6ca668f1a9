"""A hospital's export: a tree of DICOM files under any names, labels in a table keyed by study.

Names and numbers of people stay in the catalogue's own process: `prepare` stores pseudonyms under the
group's key, and no note or error here quotes a header, a path or a key of the label table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from hilum.catalog import ARCHIVE_COLUMNS, Archive, Catalog, film_table
from hilum.counts import counted
from hilum.errors import DataError, OptionError, choose
from hilum.images.dicom.header import DicomHeader
from hilum.listener import SILENT, Listener
from hilum.options import take_fields
from hilum.sources import paths
from hilum.sources.archive.entering import (
    LINK,
    NO_DICOM,
    REASONS,
    body_part,
    left_out,
    refuse_unknown,
    switch,
)
from hilum.sources.archive.film_view import film_view
from hilum.sources.archive.films import (
    Film,
    film_rows,
    notes_on,
    told_apart,
    with_numbers_taken_out,
)
from hilum.sources.archive.headers import Header, read_headers
from hilum.sources.archive.region_words import RegionWords
from hilum.sources.archive.study_labels import KEYS, labels_of
from hilum.sources.archive.tree import Tree, tree_of
from hilum.sources.folder_options import FolderOptions, Join

Key = Literal["accession", "study", "image", "patient", "path"]


@dataclass(frozen=True)
class DicomOptions:
    """DICOM files of a hospital."""

    dataset: str = "dicom"
    """Name of the data set; films and patients of two exports under one name and one key are the same."""
    label_table: Path | None = None
    """CSV with labels; without one films have none."""
    label_key: Key = "accession"
    """What a line of it names: accession number, study, image (UIDs), patient's number or file path."""
    key_column: str = ""
    """Its column; by default the one whose name says so, as AccessionNumber."""
    label_views: Literal["frontal", "all"] = "frontal"
    """Films of a study that its labels reach: laterals only with all."""
    finding_columns: tuple[str, ...] = ()
    """Columns with one finding each: 1, 0, -1 (uncertain) or empty, or the words below; by default
    those named after a known finding."""
    label_column: str = ""
    """Column with a line's classes; the other classes are absent, and all are unstated in an empty
    cell."""
    value_column: str = ""
    """Column that says of the finding in ``label_column`` whether it is present, in a table with a line
    for each study and finding."""
    separator: str = "|"
    """Character between the classes of a cell."""
    join: Join = ""
    """Joins several lines of one key: any, majority or uncertain; by default they are refused."""
    mapping: dict[str, str] = field(default_factory=dict)
    """Finding of a column or class, as in ``PNEUMONIA: Pneumonia``; an empty name leaves it out."""
    absent_values: tuple[str, ...] = ("normal", "no finding", "no_finding")
    """Classes that are no finding and mean that all findings are absent."""
    positive_values: tuple[str, ...] = ("yes", "true", "present", "positive")
    """Words for present in finding columns."""
    negative_values: tuple[str, ...] = ("no", "false", "absent", "negative")
    """Words for absent in finding columns."""
    uncertain_values: tuple[str, ...] = ("uncertain",)
    """Words for uncertain in finding columns."""
    unstated_values: tuple[str, ...] = ()
    """Further words for not stated, beside nan, NA, N/A, None and null."""
    keep: tuple[str, ...] = ()
    """Reasons that leave no film out: modality, body-part, localiser, frames, test-image, burned-in,
    secondary-capture, for-processing, second-rendering."""
    chest_words: tuple[str, ...] = ()
    """Further words that name the chest in tags and descriptions; a dash behind lets a word go on."""
    other_words: tuple[str, ...] = ()
    """Further words that name another part of the body."""
    unknown_part: Literal["keep", "drop"] = "keep"
    """What happens to films that do not say which part of the body they show."""
    keep_device: Literal["yes", "no"] = "yes"
    """Whether the store has each film's maker and model."""

    def __post_init__(self) -> None:
        """Take a text for a path and a single value for a list; refuse unknown words.

        Raises:
            OptionError: A word is none of an option's.
            TypeError: A path or list is something else.
        """
        take_fields(self)
        refuse_unknown(self.keep)
        for name, allowed in (
            ("label_key", tuple(KEYS)), ("label_views", ("frontal", "all")), ("unknown_part", ("keep", "drop")),
            ("keep_device", ("yes", "no")), ("join", ("", "any", "majority", "uncertain")),
        ):  # fmt: skip
            choose(getattr(self, name), dict.fromkeys(allowed), f"--{name.replace('_', '-')}")
        if self.label_table is None:
            for name in (
                "key_column",
                "finding_columns",
                "label_column",
                "value_column",
                "join",
                "mapping",
            ):
                if getattr(self, name):
                    raise OptionError(
                        f"--{name.replace('_', '-')} needs a table: give --label-table."
                    )
        self.label_words().check_labels()

    def label_words(self) -> FolderOptions:
        """Return the options of the labels as a folder's table has them."""
        shared = {entry.name for entry in fields(FolderOptions)} & set(vars(self)) - {"dataset"}
        return FolderOptions(csv="labels", **{name: getattr(self, name) for name in shared})


Options = DicomOptions


def read(root: Path, options: DicomOptions, listener: Listener = SILENT) -> Catalog:
    """Read the headers below a root in parallel, and join the labels; no pixel is read.

    The listener gets the progress in files.

    Raises:
        OptionError: Options that contradict each other or name nothing.
        DataError: No film is left, or the label table does not fit; one line says why.
    """
    dataset = paths.dataset_name(options.dataset)
    words = RegionWords(options.chest_words, options.other_words)
    tree = tree_of(root)
    report = partial(listener.progress, "read headers")
    report(0, len(tree.files))
    headers = read_headers(root, tree.files, lambda done: report(done, len(tree.files)))
    if not any(isinstance(header, DicomHeader) for header in headers):
        raise DataError(
            f"ROOT holds no readable DICOM file: looked for some under any name in {len(tree.files):,} files. Give the "
            "folder of the export; PNG and JPEG are read by `hilum prepare folder`."
        )
    headers = with_numbers_taken_out(headers)
    entering, others, reasons = _divided(tree, headers, options, words)
    names, again = told_apart(root, entering, options.keep)
    reasons |= {entering[index].file: reason for index, reason in again.items()}
    kept = [index for index in range(len(entering)) if index not in again]
    films = [entering[index] for index in kept]
    others += [entering[index] for index in again]
    counts = dict(Counter(reasons.values()).most_common())
    if not films:
        raise DataError(
            f"no film is left of {counted(len(reasons), 'file')} in ROOT: {_switches(counts)}."
        )
    rows = film_rows(films, [names[index] for index in kept], options.keep_device == "yes")
    notes = (
        *_tree_notes(tree, reasons),
        *((f"left out: {_switches(counts)}",) if set(counts) & set(REASONS.values()) else ()),
        *notes_on(films, [body_part(film.header, words) for film in films], rows),
    )
    labels: dict[str, np.ndarray] = {}
    if options.label_table is None:
        notes += ("no labels: give --label-table for those of studies",)
    else:
        labels, more = labels_of(
            films,
            others,
            options.label_table,
            options.label_key,
            options.key_column,
            options.label_views,
            options.label_words(),
        )
        notes += more
    table = film_table(
        pd.concat([rows, pd.DataFrame(labels, index=rows.index)], axis=1),
        tuple(labels),
        ARCHIVE_COLUMNS,
    )
    archive = Archive(tuple(film.file for film in films), reasons)
    rows_read = len(films) + len(reasons)
    return Catalog(dataset, root, tuple(labels), table, rows_read, counts, notes, archive=archive)


def _switches(counts: dict[str, int]) -> str:
    """Return how many files each reason leaves out, with the option that takes them all the same.

    >>> _switches({"secondary capture": 2, "link": 1})
    '2 secondary capture (--keep secondary-capture takes them), 1 link'
    """
    return ", ".join(
        f"{count:,} {reason}" + (f" ({taking})" if (taking := switch(reason, count)) else "")
        for reason, count in counts.items()
    )


def _divided(
    tree: Tree, headers: Sequence[Header], options: DicomOptions, words: RegionWords
) -> tuple[list[Film], list[Film], dict[str, str]]:
    """Return the films that enter, the others, and why each file of these, or without a header, does not."""
    reasons = dict.fromkeys(tree.links, LINK)
    entering: list[Film] = []
    others: list[Film] = []
    for file, header in zip(tree.files, headers, strict=True):
        if not isinstance(header, DicomHeader):
            reasons[file] = header
            continue
        film = Film(file, header, film_view(header))
        if reason := left_out(header, options.keep, words, options.unknown_part):
            reasons[file] = reason
        (others if reason else entering).append(film)
    return entering, others, reasons


def _tree_notes(tree: Tree, reasons: dict[str, str]) -> tuple[str, ...]:
    notes = []
    if tree.unread_folders:
        notes.append(
            f"{counted(tree.unread_folders, 'folder')} below ROOT may not be read: films may be missing"
        )
    packed = sum(
        reasons.get(file) == NO_DICOM
        and file.casefold().endswith((".zip", ".tar", ".gz", ".7z", ".iso"))
        for file in tree.files
    )
    if packed:
        notes.append(
            f"{counted(packed, 'packed file')} (zip, tar, iso) not opened: unpack what holds films"
        )
    return tuple(notes)
