"""What films are called in what `predict` and `explain` write: pseudonyms as soon as one of them is DICOM.

Names of an archive's files and folders hold names of people and accession numbers, as headers do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hilum.csv_files import write_private_csv
from hilum.errors import DataError, OptionError
from hilum.group_key import made_key, passed_on
from hilum.images.dicom.header import DicomHeader
from hilum.sources.archive.films import names_of
from hilum.sources.archive.headers import read_headers
from hilum.sources.archive.tree import is_dicom

COLUMNS = ("film", "file")


@dataclass(frozen=True)
class FilmNames:
    """The files to read, and what each is called."""

    files: list[Path]
    names: dict[Path, str] = field(default_factory=dict)
    """File -> pseudonym; empty where no file is DICOM: then paths are shown."""

    def of(self, file: Path) -> str:
        """Return what a file is called in results."""
        return self.names.get(file, str(file))

    def as_given(self, file: Path) -> str:
        """Return what a file is called in a line for the user, who knows which he gave."""
        if file not in self.names:
            return str(file)
        place, name = place_of(self.files.index(file), len(self.files)), self.names[file]
        return place if name == place else f"{place} ({name})"


def place_of(number: int, files: int) -> str:
    """Return a file's place among those given, in words.

    >>> place_of(0, 3)
    'film 1 of 3'
    """
    return f"film {number + 1} of {files}"


def film_names(
    files: Sequence[Path],
    out: Path | None,
    names_file: Path | None = None,
) -> FilmNames:
    """Return the files and what each is called.

    Args:
        files: Film files.
        out: What will be written; the group's key is looked for beside it, and made. None where nothing
            will be: then DICOM films are called by their places.
        names_file: CSV of pseudonyms and files, for the owner's eyes alone.

    Raises:
        OptionError: ``names_file`` has no pseudonyms to explain.
        RunError: The key is damaged or cannot be made.
        DataError: ``names_file`` cannot be written.
    """
    dicom = [file for file in files if is_dicom(file)]
    if not dicom:
        if names_file is not None:
            raise OptionError(
                f"--names-file {names_file}: no film is DICOM, and each keeps its path; leave it out."
            )
        return FilmNames(list(files))
    if out is None:
        if names_file is not None:
            raise OptionError(
                f"--names-file {names_file}: no file is written that calls films by pseudonyms; give --out too."
            )
        numbered = reversed(list(enumerate(files)))  # of a file given twice the first place counts
        places = {file: place_of(number, len(files)) for number, file in numbered}
        return FilmNames(list(files), places)
    headers = dict(zip(dicom, read_headers(Path(), list(map(str, dicom))), strict=True))
    uids = {
        file: header.sop_uid for file, header in headers.items() if isinstance(header, DicomHeader)
    }
    named, _ = names_of(Path(), list(map(str, files)), [uids.get(file, "") for file in files])
    pseudonyms = made_key(out).pseudonyms(
        "film", [name.encode("utf-8", "surrogateescape") for name in named]
    )
    names = dict(zip(files, pseudonyms, strict=True))
    if names_file is not None:
        if passed_on(names_file) is not None or names_file.is_dir():
            raise OptionError(
                f"--names-file {names_file} is a folder, or in one that may be passed on: give a file elsewhere."
            )
        try:
            write_private_csv(names_file, COLUMNS, ((names[file], str(file)) for file in files))
        except OSError as error:
            raise DataError(
                f"--names-file {names_file} cannot be written ({error.strerror}): give another file."
            ) from error
    return FilmNames(list(files), names)
