"""From the headers of an archive to its films: copies and second renderings out, ages and orders in place of dates."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.counts import counted
from hilum.images.dicom.header import DicomHeader
from hilum.sources import tables
from hilum.sources.archive.entering import COPY, REASONS, is_enhanced
from hilum.sources.archive.headers import Header

_LONGEST = 64
"""Signs of a patient's number in the standard (VR LO)."""
OLDEST_TOLD = 89
"""Years above which ages are not told apart: a person of such an age can be known by it."""
TOLD_AS = 90.0
_PLACEHOLDERS = {
    "anonymous", "anonymized", "anonymised", "anonymize", "anon", "anonym", "anonymisiert", "anonyme", "anonimo",
    "unknown", "none", "null", "na", "nan", "removed", "deleted", "redacted", "masked", "hidden", "withheld",
    "deidentified", "de", "identified", "dummy", "patient", "patientid", "id", "no", "not", "available", "name",
}  # fmt: skip
"""Words, in small letters, of what programs write for a patient's number that they took out."""
_DOUBTFUL = re.compile(r"0+|1|(\d)\1{5,}")
"""Numbers that mostly stand for none: they are a patient's where the archive's other numbers say so."""
_ROW = re.compile(r"x{3,}|")
_COUNTED = 5
"""Digits of the numbers that somebody counts patients by, from 0 or 1; those of hospitals are longer."""
STUDIES_OF_ONE = 50
"""Studies above which a patient's number may stand for several people."""


@dataclass(frozen=True)
class Film:
    """One film of the archive."""

    file: str
    header: DicomHeader
    view: str | None


def told_apart(
    root: Path, films: Sequence[Film], keep: Collection[str]
) -> tuple[list[str], dict[int, str]]:
    """Return each film's name [N] by `names_of`, and why films do not enter after all, by their index.

    Args:
        root: What the films lie below.
        films: [N] that enter by their own header.
        keep: Keys of REASONS that do not count.
    """
    names, copies = names_of(
        root, [film.file for film in films], [film.header.sop_uid for film in films]
    )
    out = dict.fromkeys(copies, COPY)
    if "second-rendering" not in keep:
        left = [index for index in range(len(films)) if index not in out]
        out |= dict.fromkeys(_second_renderings(films, left), REASONS["second-rendering"])
    return names, out


def names_of(root: Path, files: Sequence[str], uids: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return each film's name [N], and which files are equal to earlier ones.

    A film is named by its SOP Instance UID, or by its file where it has none. Files of equal bytes
    are one film; those that share a UID and differ are two, named by their bytes too.

    Args:
        root: What the files lie below.
        files: [N] paths below it.
        uids: [N] SOP Instance UIDs, empty where a file has none.
    """
    names = [uid or f"file {file}" for file, uid in zip(files, uids, strict=True)]
    copies: list[int] = []
    shared = defaultdict(list)
    for index, name in enumerate(names):
        shared[name].append(index)
    for same in (indices for indices in shared.values() if len(indices) > 1):
        contents = {index: _content(root / files[index]) for index in same}
        first = {content: index for index, content in reversed(contents.items())}
        copies += [index for index, content in contents.items() if first[content] != index]
        if len(first) > 1:
            for index, content in contents.items():
                names[index] = f"{names[index]} {content}"
    return names, copies


def _content(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return f"unread {file}"


def _second_renderings(films: Sequence[Film], indices: Iterable[int]) -> set[int]:
    """Return the films of an exposure that another film shows already.

    One exposure is told by its Irradiation Event UID, by an image that another was made of, or by
    words such as "edge enhanced" where the study has a plain film of the same view. A UID that
    films of several studies or views have tells none: a de-identifier may have written it into
    every file, or a device one a study.
    """
    indices = sorted(indices, key=lambda index: _precedence(films[index].header))
    uids = {films[index].header.sop_uid for index in indices} - {""}
    shown: dict[str, set[tuple[str, str, str | None]]] = defaultdict(set)
    for index in indices:
        film = films[index].header
        shown[film.exposure_event].add((film.patient_id, film.study_uid, films[index].view))
    no_exposure = {""} | {
        event
        for event, of in shown.items()
        if len({place[:2] for place in of}) > 1 or len({view for *_, view in of if view}) > 1
    }
    events: set[str] = set()
    plain = {
        (films[index].header.study_uid, films[index].view)
        for index in indices
        if not is_enhanced(films[index].header)
    }
    second = set()
    for index in indices:
        film = films[index].header
        again = film.exposure_event in events
        events |= {film.exposure_event} - no_exposure
        derived = bool(uids & set(film.made_of) - {film.sop_uid})
        place = (film.study_uid, films[index].view)
        enhanced = bool(film.study_uid) and place in plain and is_enhanced(film)
        if again or derived or enhanced:
            second.add(index)
    return second


def _precedence(film: DicomHeader) -> tuple[bool, bool, int, str]:
    """Return what orders the images of an exposure: the plain, original, first one comes first."""
    original = film.image_type[:1] == ("ORIGINAL",)
    number = 10**9 if film.instance_number is None else film.instance_number
    return is_enhanced(film), not original, number, film.sop_uid


def film_rows(films: Sequence[Film], names: Sequence[str], keep_device: bool) -> pd.DataFrame:
    """Return the catalogue's columns of films, [N], with the true names of patients and studies.

    ``study_order`` counts a patient's studies by their dates, from 1; it is null where a study has
    no date. Ages above OLDEST_TOLD are TOLD_AS.
    """
    headers = [film.header for film in films]
    studies = [
        f"{film.patient_id}\n{film.study_uid or film.accession or film.study_date or name}"
        for film, name in zip(headers, names, strict=True)
    ]
    rows = pd.DataFrame(
        {
            "path": list(names),
            "patient": [
                film.patient_id or f"of {study}"
                for film, study in zip(headers, studies, strict=True)
            ],
            "study": studies,
            "view_position": [film.view for film in films],
            "sex": [film.sex if film.sex in ("M", "F") else None for film in headers],
            "age": [age_of(film) for film in headers],
        }
    )
    taken = pd.Series([_moment(film) for film in headers], rows.index, "string")
    first = taken.groupby(rows["study"]).transform("min")
    order = first.groupby(rows["patient"]).rank("dense")
    rows["study_order"] = order.astype("Int32")
    for column, values in (
        ("maker", [film.maker for film in headers]),
        ("model", [film.model for film in headers]),
    ):
        rows[column] = pd.Series(
            [value[:64] or None if keep_device else None for value in values], rows.index, "string"
        )
    return rows


def with_numbers_taken_out(headers: Sequence[Header]) -> list[Header]:
    """Return the headers [N] with an empty patient's number where it stands for one that was taken out.

    Words such as "anonymous" do, and rows of one sign. So do 0 and 1, unless patients are counted: other
    numbers of the archive are as short; and 111111 or 000000, unless the number before or after it occurs.
    """
    numbers = {header.patient_id for header in headers if isinstance(header, DicomHeader)}
    none = {number for number in numbers if _stands_for_none(number)}
    real = {number for number in numbers - none if number.isdecimal() and number.isascii()}
    plain = {number for number in real if not _DOUBTFUL.fullmatch(number)}
    counting = any(len(number) <= _COUNTED for number in plain)
    values = {int(number) for number in plain if len(number) <= _LONGEST}
    none |= {
        number
        for number in real - plain
        if not (
            counting if len(number) <= _COUNTED else {int(number) - 1, int(number) + 1} & values
        )
    }
    return [
        replace(header, patient_id="")
        if isinstance(header, DicomHeader) and header.patient_id in none
        else header
        for header in headers
    ]


def _stands_for_none(number: str) -> bool:
    words = re.findall(r"[^\W_]+", number.casefold())
    return (
        set(words) <= _PLACEHOLDERS or bool(_ROW.fullmatch("".join(words))) or words == ["n", "a"]
    )


def age_of(film: DicomHeader) -> float:
    """Return years, NaN where the header does not say; above OLDEST_TOLD all are TOLD_AS.

    Whole years, and months below two: an age to the day would give the date of birth back to
    whoever knows the day of the film. An age of 0 beside dates that say another is one left blank.
    """
    years = film.age
    if not years and film.birth_date and film.taken:
        years = (film.taken - film.birth_date).days / 365.25
    if years is None or not 0 <= years <= tables.OLDEST:
        return np.nan
    if years > OLDEST_TOLD + 1 - 1e-9:
        return TOLD_AS
    steps = 1 if years >= 2 else 12
    return math.floor(years * steps + 1e-9) / steps


def _moment(film: DicomHeader) -> str | None:
    if film.study_date is None:
        return None
    return f"{film.study_date:%Y%m%d}{film.study_time or ''}"


def notes_on(films: Sequence[Film], parts: Sequence[str], rows: pd.DataFrame) -> tuple[str, ...]:
    """Return notes on what the headers of the films do not say; none quotes a header.

    Args:
        films: [N] that enter.
        parts: [N] chest, or nothing where the header does not say.
        rows: [N] of the catalogue.
    """
    headers = [film.header for film in films]
    counts = (
        (
            sum(film.burned_in is None for film in headers),
            "film does not say whether text is burnt into it: look at it",
            "films do not say whether text is burnt into them: look at some",
        ),
        (
            sum(not part for part in parts),
            "film names no part of the body and is kept (--unknown-part drop leaves it out)",
            "films name no part of the body and are kept (--unknown-part drop leaves them out); `hilum card` lists "
            "those unlike the others",
        ),
        (
            int(rows["view_position"].isna().sum()),
            "film does not say from which side it was taken",
            "films do not say from which side they were taken",
        ),
        *_people_counts(headers, rows),
        (
            int((rows["age"] == TOLD_AS).sum()),
            "film is of somebody above 89 years, whose age is told as 90",
            "films are of people above 89 years, whose age is told as 90",
        ),
    )
    return tuple(counted(count, one, many) for count, one, many in counts if count)


def _people_counts(
    headers: Sequence[DicomHeader], rows: pd.DataFrame
) -> tuple[tuple[int, str, str], ...]:
    """Return how many films or patients there are of whom it is not clear who they are, each with a note."""
    several = Counter(
        number
        for number, _ in {(film.patient_id, film.birth_date) for film in headers if film.birth_date}
        if number
    )
    studies = rows.groupby("patient")["study"].nunique()
    many = (studies > STUDIES_OF_ONE) | ((studies > 2) & (len(studies) == 1))
    return (
        (
            sum(not film.patient_id for film in headers),
            "film has no patient's number, or one that stands for none: its study counts as a patient of its own",
            "films have no patient's number, or one that stands for none (such as 0, or 1 beside long ones): each of "
            "their studies counts as a patient of its own",
        ),
        (
            sum(
                bool(film.patient_id) and film.patient_id in (film.accession, film.study_uid)
                for film in headers
            ),
            "film has its study's number as the patient's: studies of one person may stand for several patients",
            "films have their study's number as the patient's: studies of one person may stand for several patients, "
            "in training and test alike",
        ),
        (
            sum(count > 1 for count in several.values()),
            "patient's number occurs with two dates of birth: it may stand for two people",
            "patients' numbers occur with two dates of birth: one number may stand for two people",
        ),
        (
            int(many.sum()),
            f"patient's number is that of up to {studies.max():,} studies: it may stand for several people, "
            "who count as one",
            f"patients' numbers are those of up to {studies.max():,} studies: each may stand for several people, "
            "who count as one",
        ),
    )
