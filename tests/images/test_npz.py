"""Films in an npz: NumPy is the oracle; what is hostile, cut or damaged is refused in one line, nothing unpickled."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hilum.images.npz import NpzArray, array_names, film_path, read_film, read_npz_film
from hilum.images.read import UnreadableFilm, read_grey

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (40, 12, 9)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)


@pytest.fixture(params=[np.savez, np.savez_compressed], ids=["stored", "packed"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "set.npz"
    request.param(
        path, train_images=GREY, test_images=COLOUR, train_labels=np.arange(40).reshape(40, 1)
    )
    return path


def member(data: bytes, name: str = "train_images.npy") -> bytes:
    """An archive with one member of these bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


def head(text: str, version: int = 1) -> bytes:
    form = "<H" if version == 1 else "<I"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack(form, len(text)) + text.encode()


def described(kind: str = "|u1", shape: str = "2, 3, 3", fortran: str = "False") -> str:
    return f"{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': ({shape}), }}\n"


def film(file: Path, place: int, part: str = "train", **options: int) -> np.ndarray:
    return read_npz_film(file.parent / film_path(file.name, part, place), **options)


@pytest.mark.parametrize(
    "order", [range(40), reversed(range(40)), [7, 7, 39, 0, 8]], ids=["on", "back", "about"]
)
def test_films_come_out_as_numpy_has_them_in_any_order(file: Path, order: Any) -> None:
    for place in order:
        np.testing.assert_array_equal(film(file, place), GREY[place])


def test_colour_is_grey_as_in_a_film_file(file: Path, tmp_path: Path) -> None:
    for place, colour in enumerate(COLOUR):
        cv2.imwrite(str(tmp_path / "film.png"), colour[..., ::-1])
        wanted = read_grey(tmp_path / "film.png").astype(int)
        assert np.abs(film(file, place, "test") - wanted).max() <= 1  # the two round differently


def test_a_film_is_taken_from_its_file_or_from_an_archive(file: Path) -> None:
    inside = file.parent / film_path(file.name, "train", 2)
    np.testing.assert_array_equal(read_film(inside), GREY[2])
    alike = file.parent / "set.npz#train"
    alike.mkdir()
    cv2.imwrite(str(alike / "film.png"), GREY[0])
    (alike / "film.png").rename(alike / "2")
    np.testing.assert_array_equal(
        read_film(inside), GREY[0]
    )  # a file of that very name comes first
    with pytest.raises(UnreadableFilm, match="missing"):
        read_film(file.parent / "none.png")


def test_a_file_that_was_replaced_is_read_anew(file: Path) -> None:
    assert film(file, 3)[0, 0] == GREY[3, 0, 0]
    np.savez(file, train_images=255 - GREY)
    os.utime(file, ns=(1, 1))
    np.testing.assert_array_equal(film(file, 4), 255 - GREY[4])


def test_arrays_are_listed_and_read_whole(file: Path) -> None:
    assert sorted(array_names(file)) == ["test_images", "train_images", "train_labels"]
    array = NpzArray(file, "train_labels")
    assert (array.shape, array.described()) == ((40, 1), "int64 [40, 1]")
    for _ in range(2):
        np.testing.assert_array_equal(array.rows()[:, 0], np.arange(40))
        array.check()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_of_the_head_is_read(tmp_path: Path, version: int) -> None:
    (tmp_path / "set.npz").write_bytes(member(head(described(), version) + bytes(range(18))))
    np.testing.assert_array_equal(film(tmp_path / "set.npz", 1), np.arange(9, 18).reshape(3, 3))


MISSING = {
    "another film": ("train", 40, "has 40 films, number 40"),
    "another part": ("val", 0, "no array 'val_images'"),
    "labels": ("train_labels", 0, "no array"),
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_not_there_is_missing(file: Path, name: str) -> None:
    part, place, words = MISSING[name]
    with pytest.raises(UnreadableFilm, match=words) as error:
        film(file, place, part)
    assert error.value.reason == "missing"


def test_other_paths_and_files_are_missing(tmp_path: Path, file: Path) -> None:
    for path in (
        tmp_path / "set.npz",
        tmp_path / "none.npz#train/0",
        tmp_path / "set.npz" / "x.npz#train/0",
    ):
        with pytest.raises(UnreadableFilm, match="missing"):
            read_npz_film(path)


def test_large_films_are_refused(file: Path) -> None:
    with pytest.raises(UnreadableFilm, match="too many pixels: 9 x 12, at most 100"):
        film(file, 0, max_pixels=100)


HOSTILE: dict[str, tuple[bytes, str]] = {
    "no zip": (b"PK nothing", "damaged"),
    "empty": (b"", "damaged"),
    "no array": (member(b"hello, this is text and no array"), "is no NumPy array"),
    "short": (member(b"\x93NUM"), "ends early"),
    "objects": (member(head(described("|O")) + pickle.dumps([1])), "of the type '|O'"),
    "floats": (member(head(described("<f4")) + bytes(72)), "is float32"),
    "big-endian": (member(head(described(">u2")) + bytes(36)), "of the type '>u2'"),
    "code": (member(head("__import__('os').abort()\n")), "of a form that is not read"),
    "Fortran": (member(head(described(fortran="True")) + bytes(18)), "of a form that is not read"),
    "long head": (member(head(" " * 60_000)), "of a form that is not read"),
    "a number": (member(head(described(shape="")) + bytes(1)), "is a single number"),
    "huge": (
        member(head(described(shape="2, 1000000, 1000000")) + bytes(18)),
        "which its size cannot be",
    ),
    "endless": (member(head(described(shape="9" * 90)) + bytes(18)), "which its size cannot be"),
    "too small": (member(head(described()) + bytes(17)), "which its size cannot be"),
    "too large": (member(head(described()) + bytes(19)), "which its size cannot be"),
    "labels": (member(head(described(shape="2, 9")) + bytes(18)), "films are uint8"),
    "volumes": (member(head(described(shape="2, 4, 4, 4")) + bytes(128)), "films are uint8"),
    "wide numbers": (member(head(described("<u2")) + bytes(36)), "films are uint8"),
    "no pixels": (member(head(described(shape="2, 0, 3"))), "films are uint8"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused(tmp_path: Path, name: str) -> None:
    content, words = HOSTILE[name]
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(UnreadableFilm) as error:
        film(tmp_path / "set.npz", 0)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_claim_that_no_packing_could_keep_is_refused_before_it_is_unpacked(
    tmp_path: Path,
) -> None:
    claimed = 3_000_000_000
    text = head(described(shape=f"{claimed}, 1, 1"))
    content = bytearray(member(text + bytes(18)))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.index(signature) + offset, claimed + len(text))
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(UnreadableFilm, match="which its size cannot be"):
        film(tmp_path / "set.npz", 0)


def test_another_packing_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("train_images.npy", head(described()) + bytes(18))
    with pytest.raises(UnreadableFilm, match="packed or locked"):
        film(tmp_path / "set.npz", 0)


def test_a_wrong_checksum_is_found_by_a_check(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", train_images=GREY)
    content = bytearray((tmp_path / "set.npz").read_bytes())
    content[2000] ^= 1
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(UnreadableFilm, match="CRC"):
        NpzArray(tmp_path / "set.npz", "train_images").check()


def test_films_before_the_damage_are_read_and_those_behind_fail_at_once(tmp_path: Path) -> None:
    films = RNG.integers(0, 256, (400, 12, 9)).astype(np.uint8)
    body = head(described(shape="400, 12, 9")) + films.tobytes()
    packed = zlib.compressobj(wbits=-15)
    broken = packed.compress(body[:30_000]) + packed.flush(zlib.Z_FULL_FLUSH) + b"\xff" * 9000
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("train_images.npy", broken)
    content = bytearray((tmp_path / "set.npz").read_bytes())
    for signature, method, size in ((b"PK\x03\x04", 8, 22), (b"PK\x01\x02", 10, 24)):
        start = content.index(signature)
        struct.pack_into("<H", content, start + method, zipfile.ZIP_DEFLATED)
        struct.pack_into("<I", content, start + size, len(body))
    (tmp_path / "set.npz").write_bytes(content)
    array = NpzArray(tmp_path / "set.npz", "train_images")
    for sound, lost in ((5, 390), (200, 300), (6, 395)):
        np.testing.assert_array_equal(array.row(sound), films[sound])
        for place in (lost, lost + 1, lost):
            with pytest.raises(UnreadableFilm, match="damaged"):
                array.row(place)
    array.close()


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, 10_000), junk=st.binary(max_size=6), cut=st.integers(0, 12))
def test_mutated_archives_are_read_or_refused_in_one_line(
    file: Path, place: int, junk: bytes, cut: int
) -> None:
    np.savez_compressed(file, train_images=GREY[:6], test_images=COLOUR[:2])
    content = file.read_bytes()
    place %= len(content)
    file.write_bytes(content[:place] + junk + content[place + cut :])
    refusal = ""
    try:
        for name in array_names(file):
            NpzArray(file, name).check()
        assert film(file, 5).ndim == 2
    except UnreadableFilm as error:
        refusal = str(error)
    assert "\n" not in refusal
