"""The files of an archive's tree, whatever their names: regular files below the root, links passed over."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hilum.errors import DataError
from hilum.images.dicom.sniff import HEAD_BYTES
from hilum.images.dicom.sniff import is_dicom as is_dicom_head


@dataclass(frozen=True)
class Tree:
    """What lies below a root."""

    files: tuple[str, ...]
    """POSIX paths below the root, sorted."""
    links: tuple[str, ...]
    """Symbolic links, and what is neither file nor folder; none is followed."""
    unread_folders: int = 0
    """Folders that may not be read."""


def tree_of(root: Path) -> Tree:
    """Return the files below a root.

    A link inside the tree would name a file twice, and one that leads out of it another archive's.

    Raises:
        DataError: The root itself may not be read.
    """
    files: list[str] = []
    links: list[str] = []
    unread = 0
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_symlink():
                        links.append(path)
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    else:
                        (files if entry.is_file(follow_symlinks=False) else links).append(path)
        except OSError as error:
            if not folder:
                raise DataError(
                    f"ROOT cannot be read ({error.strerror}): give a folder of yours."
                ) from error
            unread += 1
    return Tree(tuple(sorted(files)), tuple(sorted(links)), unread)


def dicom_files(root: Path) -> list[str]:
    """Return the DICOM files below a root by their content, as POSIX paths, sorted.

    Raises:
        DataError: The root may not be read.
    """
    return [file for file in tree_of(root).files if is_dicom(root / file)]


def is_dicom(file: Path) -> bool:
    """Whether a path is a DICOM file by its content; False where it cannot be read."""
    try:
        if not os.path.isfile(file):  # noqa: PTH113 - False for a name of any length
            return False
        with file.open("rb") as opened:
            return is_dicom_head(opened.read(HEAD_BYTES))
    except (OSError, ValueError):
        return False
