"""Films in the arrays of an ``.npz`` file (a zip of NumPy arrays), read one after the other; never a pickle.

An array is a compressed stream, in which a film is reached only by unpacking those before it. So a
stream stays open between films: films read in order take one pass, in constant memory, however
large the array is. Headers are matched, not evaluated; an array of Python objects is refused
before any of it is read.
"""

from __future__ import annotations

import io
import math
import re
import signal
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO

import cv2
import numpy as np

from hilum.files import most_zip_entries
from hilum.images.read import MAX_PIXELS, UnreadableFilm, read_grey, read_grey_keeping_damaged
from hilum.images.rendering import DISPLAY, Rendering

NPZ_READER = "hilum.images.npz:read_npz_film"
"""Reader of a catalogue whose paths are made by ``film_path``."""

_PATH = re.compile(
    r"(?P<file>.+\.npz)#(?P<part>\w+)/(?P<index>\d{1,12})", re.DOTALL | re.IGNORECASE
)
_HEADER = re.compile(
    rb"\{'descr': '(?P<kind>[^']{1,16})', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>[\d, ]{0,120})\), \} *\n?"
)
_KINDS = re.compile(r"[|<][ui][1248]|\|b1|<f[48]")
_CHUNK = 2**20
_MOST_HEADER = 4096
_BEST_RATIO = 1032
"""Largest compression ratio of deflate; an array that claims more is damaged."""
_USUAL_RATIO, _LARGE = 200, 2**30
"""Compression ratio up to which an array may be larger than this many bytes: films hold noise."""
_MOST_ENTRIES = 10_000
_UNPACKS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    ValueError,
    OverflowError,
    struct.error,
)


def film_path(file: str, part: str, index: int) -> str:
    """Return the path that names one film of ``<part>_images`` in a catalogue.

    >>> film_path("chestmnist.npz", "train", 17)
    'chestmnist.npz#train/17'
    """
    return f"{file}#{part}/{index}"


def read_npz_film(path: Path, max_pixels: int = MAX_PIXELS, *_: object) -> np.ndarray:
    """Return a film as grey, uint8 [H, W]; colour becomes luma (Rec. 601), equal to `read_grey` to within one level.

    Keeps the last array open: meant for one thread that reads films in rising order.

    Args:
        path: As by `film_path`.
        max_pixels: The most pixels that a film may have.

    Raises:
        UnreadableFilm: There is no such film, the archive is damaged, or the film has more than
            ``max_pixels`` pixels.
    """
    match = _PATH.fullmatch(str(path))
    if not match:
        raise UnreadableFilm("missing", "an array's film is named FILE.npz#PART/NUMBER")
    with _one_reason():
        state = Path(match["file"]).stat()
    array = _open_array(match["file"], f"{match['part']}_images", state.st_mtime_ns, state.st_size)
    if not is_films(array):
        raise UnreadableFilm(
            "damaged",
            f"{array.name} is {array.described()}, films are uint8 [n, h, w] or [n, h, w, 3]",
        )
    height, width = array.shape[1:3]
    if height * width > max_pixels:
        raise UnreadableFilm(
            "too many pixels", f"{width} x {height}, at most {max_pixels} are read"
        )
    film = array.row(int(match["index"]))
    film = film[..., 0] if film.shape[2:] == (1,) else film
    return film if film.ndim == 2 else np.asarray(cv2.cvtColor(film, cv2.COLOR_RGB2GRAY))


def read_film(
    path: Path,
    max_pixels: int = MAX_PIXELS,
    rendering: Rendering = DISPLAY,
    notes: list[str] | None = None,
) -> np.ndarray:
    """Return a film file, or an archive's film named as by `film_path`, as grey, uint8 [H, W].

    Raises:
        UnreadableFilm: As `read_grey` and `read_npz_film` do.
    """
    if _in_archive(path):
        return read_npz_film(path, max_pixels)
    return read_grey(path, max_pixels, rendering, notes)


def read_film_keeping_damaged(
    path: Path,
    max_pixels: int = MAX_PIXELS,
    rendering: Rendering = DISPLAY,
    notes: list[str] | None = None,
) -> np.ndarray:
    """Return a film as `read_film` does, also a JPEG whose decoder reports damaged data.

    Raises:
        UnreadableFilm: As for `read_film`; what has no pixels still fails.
    """
    if _in_archive(path):
        return read_npz_film(path, max_pixels)
    return read_grey_keeping_damaged(path, max_pixels, rendering, notes)


def _in_archive(path: Path) -> bool:
    return _PATH.fullmatch(str(path)) is not None and not path.is_file()


def is_films(array: NpzArray) -> bool:
    """Return whether an array holds films: uint8 [n, h, w], [n, h, w, 1] or [n, h, w, 3], no side 0."""
    layout = len(array.shape) == 3 or (len(array.shape) == 4 and array.shape[3] in (1, 3))
    return layout and array.dtype == np.uint8 and min(array.shape[1:]) > 0


@lru_cache(maxsize=1)
def _open_array(file: str, name: str, _changed: int, _size: int) -> NpzArray:
    return NpzArray(Path(file), name)


def array_names(file: Path) -> list[str]:
    """Return the names of an archive's arrays.

    Raises:
        UnreadableFilm: The file cannot be read, or is no archive.
    """
    with _one_reason(), _open_archive(file) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


class NpzArray:
    """One array of an archive: its header is read at once, its rows on demand.

    The file stays open from the first row on, until ``close``.

    Attributes:
        name: Its name in the archive.
        shape: Its shape; the first axis counts rows.
        dtype: Numbers or bool, little-endian.
    """

    def __init__(self, file: Path, name: str) -> None:
        """Open the array and read its header.

        Raises:
            UnreadableFilm: It is not there, holds Python objects or anything but numbers, is no
                array, or its size in the archive is not the one of its shape.
        """
        self.name, self._file = name, file
        self.shape: tuple[int, ...] = ()
        self.dtype: np.dtype[np.generic] = np.dtype(np.uint8)
        self._next = 0
        self._stream: IO[bytes] = io.BytesIO()
        self._lost: tuple[int, str, str] | None = None
        self._rewind()
        self.close()

    def described(self) -> str:
        """Return type and shape in words."""
        return f"{self.dtype.name} [{', '.join(map(str, self.shape))}]"

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def row(self, index: int) -> np.ndarray:
        """Return one row; an index below the previous one costs a pass from the beginning.

        Raises:
            UnreadableFilm: There is no such row, or the archive is damaged before its end.
        """
        if not 0 <= index < self.shape[0]:
            raise UnreadableFilm(
                "missing",
                f"{self.name} has {self.shape[0]} films, number {index} is not one of them",
            )
        # All rows behind a damaged one are lost: no need to unpack again.
        if self._lost and index >= self._lost[0]:
            raise UnreadableFilm(*self._lost[1:])
        if index < self._next or self._stream.closed:
            self._rewind()
        try:
            self._skip((index - self._next) * self.row_bytes)
            data = self._take(self.row_bytes)
        except UnreadableFilm as error:
            self._lost = index, error.reason, error.detail
            raise
        self._next = index + 1
        return np.frombuffer(data, self.dtype).reshape(self.shape[1:])

    def rows(self) -> np.ndarray:
        """Return the whole array.

        Raises:
            UnreadableFilm: The archive is damaged.
        """
        self._rewind()
        data = self._take(self.shape[0] * self.row_bytes)
        self.close()
        return np.frombuffer(data, self.dtype).reshape(self.shape)

    def check(self) -> None:
        """Unpack everything once, which compares the archive's checksum.

        Raises:
            UnreadableFilm: The archive is damaged.
        """
        self._rewind()
        self._skip(self.shape[0] * self.row_bytes)
        with _one_reason():
            self._stream.read(1)  # the checksum is compared at the end
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _rewind(self) -> None:
        self._stream.close()
        with _one_reason(), _open_archive(self._file) as archive:
            try:
                info = archive.getinfo(f"{self.name}.npy")
            except KeyError as error:
                raise UnreadableFilm(
                    "missing", f"the archive has no array {self.name!r}"
                ) from error
            if info.compress_type not in _UNPACKS or info.flag_bits & 1:
                raise UnreadableFilm(
                    "unreadable",
                    f"{self.name} is packed or locked in a way that NumPy does not use",
                )
            self._stream, self._next = archive.open(info), 0
        try:
            self.shape, self.dtype, header = self._read_header()
            claimed = header + self.shape[0] * self.row_bytes
            if info.file_size != claimed or claimed > max(info.compress_size, 1) * _BEST_RATIO:
                raise UnreadableFilm(
                    "damaged",
                    f"{self.name} claims to be {self.described()}, which its size cannot be",
                )
            if claimed > max(_LARGE, info.compress_size * _USUAL_RATIO):
                raise UnreadableFilm(
                    "damaged",
                    f"{self.name} is packed {claimed // max(1, info.compress_size)} : 1, as no films are",
                )
        except UnreadableFilm:
            self.close()
            raise

    def _read_header(self) -> tuple[tuple[int, ...], np.dtype[np.generic], int]:
        """Return shape, type and the header's bytes."""
        magic = self._take(8)
        if magic[:6] != b"\x93NUMPY" or magic[6] not in (1, 2, 3):
            raise UnreadableFilm("damaged", f"{self.name} is no NumPy array")
        form = "<H" if magic[6] == 1 else "<I"
        (length,) = struct.unpack(form, self._take(struct.calcsize(form)))
        shape, kind = _parsed(self._take(min(length, _MOST_HEADER)), self.name)
        return shape, kind, len(magic) + struct.calcsize(form) + length

    def _skip(self, count: int) -> None:
        """Unpack and discard; a running timer of the decoding worker starts anew with each chunk: this is no hang."""
        patience, again = signal.getitimer(signal.ITIMER_REAL)
        while count:
            count -= len(self._take(min(count, _CHUNK)))
            if patience:
                signal.setitimer(signal.ITIMER_REAL, patience, again)

    def _take(self, count: int) -> bytes:
        """Return exactly that many bytes."""
        try:
            with _one_reason():
                data = self._stream.read(count)
            if len(data) < count:
                raise UnreadableFilm("truncated", f"{self.name} ends early")
        except UnreadableFilm:
            self.close()
            raise
        return data


def _open_archive(file: Path) -> zipfile.ZipFile:
    if most_zip_entries(file) > _MOST_ENTRIES:
        raise UnreadableFilm("damaged", f"an archive of more than {_MOST_ENTRIES} entries")
    return zipfile.ZipFile(file)


def _parsed(header: bytes, name: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Return shape and type from an array's header."""
    match = _HEADER.fullmatch(header)
    if not match or match["fortran"] == b"True":
        raise UnreadableFilm(
            "damaged", f"{name} is of a form that is not read: arrays in C order are"
        )
    kind = match["kind"].decode("latin-1")
    if not _KINDS.fullmatch(kind):
        raise UnreadableFilm(
            "damaged", f"{name} is of the type {kind!r}: arrays of numbers are read"
        )
    shape = tuple(int(size) for size in match["shape"].decode().split(",") if size.strip())
    if not shape:
        raise UnreadableFilm("damaged", f"{name} is a single number")
    return shape, np.dtype(kind)


@contextmanager
def _one_reason() -> Iterator[None]:
    """Turn the errors of damaged zip files into an UnreadableFilm with the reason."""
    try:
        yield
    except UnreadableFilm:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UnreadableFilm("missing") from error
    except OSError as error:
        raise UnreadableFilm("unreadable", error.strerror or type(error).__name__) from error
    except _DAMAGE as error:
        raise UnreadableFilm(
            "damaged", " ".join(str(error).split())[:100] or type(error).__name__
        ) from error
