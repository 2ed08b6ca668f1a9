"""Decoding of files in limited processes: in order, and a film that kills its decoder fails alone."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.errors import DataError
from hilum.images.decoding.decoder import DecodedFilm, Decoder
from hilum.images.decoding.pool import Job, Pool, Setup
from hilum.images.enhance import Preparation
from hilum.images.read import MAX_PIXELS, UnreadableFilm, decode_grey, read_grey
from hilum.sources.archive.entering_film import ENTERING_READER

PREPARATION = Preparation(16)


def harmful_reader(path: Path, max_pixels: int = MAX_PIXELS, *_: object) -> np.ndarray:
    """Read a film; some names kill the process, as a decoder's fault would, or ask for memory."""
    if path.stem == "deadly":
        os.kill(os.getpid(), signal.SIGSEGV)
    if path.stem == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if path.stem == "exits":
        os._exit(3)
    if path.stem == "numpy":
        return np.ones((40_000, 40_000), np.uint8)
    if path.stem == "python":
        return np.frombuffer(bytearray(2**31), np.uint8).reshape(2**15, -1)
    if path.stem == "opencv":
        return cv2.resize(np.ones((9, 9), np.uint8), (30_000, 60_000))
    if path.stem == "slow":
        time.sleep(60)
    return read_grey(path, max_pixels)


def image(film: DecodedFilm | UnreadableFilm) -> np.ndarray:
    assert isinstance(film, DecodedFilm)
    return film.image


@pytest.fixture
def films(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for number, file in enumerate(files):
        cv2.imwrite(str(file), np.full((20, 30), 40 * number, np.uint8))
    return files


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder(PREPARATION) as one:
        yield one


@pytest.fixture(scope="module")
def harmed() -> Iterator[Decoder]:
    with Decoder(PREPARATION, f"{__name__}:harmful_reader") as one:
        yield one


def test_films_come_in_the_order_given_as_they_are_read_here(
    films: list[Path], decoder: Decoder
) -> None:
    given = [*reversed(films), films[0].with_name("none.png"), films[3]]
    decoded = list(decoder.films(given))
    assert str(decoded[6]) == "missing"
    for file, film in zip(given, decoded, strict=True):
        if isinstance(film, DecodedFilm):
            assert film.size == (20, 30)
            assert np.array_equal(film.image, PREPARATION.apply(read_grey(file)))
    assert list(decoder.films([])) == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("deadly", "decoder died: SIGSEGV"),
        ("killed", "decoder died: SIGKILL"),
        ("exits", "decoder died: exit status 3"),
        ("numpy", "unreadable: needs more than 512 MB of memory"),
        ("python", "unreadable: needs more than 512 MB of memory"),
        ("opencv", "unreadable: needs more than 512 MB of memory"),
    ],
)
def test_a_film_that_harms_its_decoder_fails_alone(
    films: list[Path], harmed: Decoder, name: str, line: str
) -> None:
    harmful = films[2].rename(films[2].with_name(f"{name}.png"))
    decoded = list(harmed.films([films[0], harmful, films[4]]))
    assert str(decoded[1]) == line
    assert [int(image(film)[0, 0]) for film in (decoded[0], decoded[2])] == [0, 160]


def test_a_film_that_hangs_fails_alone(films: list[Path]) -> None:
    slow = films[1].rename(films[1].with_name("slow.png"))
    setup = Setup(Path(), f"{__name__}:harmful_reader", PREPARATION.to_json(), 10**6, 0.2)
    (films[0].parent / "out").touch()
    group = Job(0, str(films[0].parent / "out"), 0, 0, 256, (str(films[0]), str(slow)))
    jobs = [group]
    lost: list[str] = []
    with Pool(1, setup, lambda _, how: lost.append(how)) as pool:
        done = {job.start: one for job, one in pool.run(lambda _: jobs.pop() if jobs else None)}
    assert (done[1][0].reason, done[1][0].detail) == ("decoder hung", "longer than 0.2 s")
    assert lost == []


def test_a_decoder_without_room_or_process_says_so_in_one_line(
    films: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Decoder(PREPARATION, "hilum.images.npz:no_such_reader") as broken:
        with pytest.raises(DataError, match=r"decoding process cannot start \(.*no_such_reader"):
            list(broken.films(films))
        with pytest.raises(DataError, match="cannot start"):  # it can be asked again
            list(broken.films(films))
    monkeypatch.setattr("sys.executable", "/bin/false")
    with Decoder(PREPARATION) as none, pytest.raises(DataError, match="cannot start"):
        list(none.films(films))


def test_copies_threads_and_forks_have_what_they_need(films: list[Path], decoder: Decoder) -> None:
    wanted = [image(film).tolist() for film in decoder.films(films)]
    for other in (copy.copy(decoder), copy.deepcopy(decoder), pickle.loads(pickle.dumps(decoder))):
        with other:
            assert [image(film).tolist() for film in other.films(films)] == wanted
    with ThreadPoolExecutor(4) as threads:
        several = list(threads.map(lambda _: list(decoder.films(films)), range(8)))
    assert all([image(film).tolist() for film in some] == wanted for some in several)
    child = os.fork()
    if not child:
        with decoder:
            same = [image(film).tolist() for film in decoder.films(films)] == wanted
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert [image(film).tolist() for film in decoder.films(films)] == wanted


def test_a_decoder_that_was_ended_or_left_half_way_starts_again(films: list[Path]) -> None:
    decoder = Decoder(PREPARATION)
    with decoder:
        next(iter(decoder.films(films)))
    assert len(list(decoder.films(films))) == 6
    with decoder:
        pass


def test_damaged_films_are_kept_where_asked(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    data = bytearray(cv2.imencode(".jpg", noise)[1].tobytes())
    at = data.index(b"\xff\xda") + 200
    data[at : at + 300] = b"\x55" * 300
    (tmp_path / "damaged.jpg").write_bytes(data)
    found = []
    for options in ({}, {"keep_damaged": True}):
        with pickle.loads(pickle.dumps(Decoder(PREPARATION, ENTERING_READER, options))) as decoder:
            found += decoder.films([tmp_path / "damaged.jpg"])
    assert str(found[0]).startswith("damaged: Corrupt JPEG data")
    assert isinstance(found[1], DecodedFilm)


OWN = [
    bytes([97 + n % 26, 97 + n // 26 % 26, 65 + n // 676 % 26, 97 + n // 17_576])
    for n in range(100_001)
]
"""Names of chunks, all different."""


def chunk(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def small_png(before: bytes = b"", behind: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(72)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + data + behind + chunk(b"IEND")


def small_jpeg(segments: bytes = b"", scans: int = 1) -> bytes:
    grey = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    at = data.rindex(b"\xff\xda")
    return data[:2] + segments + data[2:-2] + data[at:-2] * (scans - 1) + b"\xff\xd9"


@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        (
            "text.png",
            small_png(chunk(b"tEXt", b"a\0b") * 100_000),
            "too many chunks: at most 100000",
        ),
        ("idat.png", small_png(behind=chunk(b"IDAT") * 100_000), "too many chunks"),
        ("own.png", small_png(b"".join(map(chunk, OWN))), "too many chunks"),
        ("com.jpg", small_jpeg(b"\xff\xfe\0\2" * 10_000), "too many markers: at most 10000"),
        ("dht.jpg", small_jpeg(b"\xff\xc4\0\2" * 10_001), "too many markers"),
        ("tem.jpg", small_jpeg(b"\xff\x01" * 10_001), "too many markers"),
        ("scans.jpg", small_jpeg(scans=96), "too many scans: at most 100"),
    ],
)
def test_what_no_film_has_is_refused_before_it_is_decoded(
    tmp_path: Path, name: str, data: bytes, line: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UnreadableFilm, match=line):
        read_grey(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("text.png", small_png(chunk(b"tEXt", b"a\0b") * 50_000)),
        ("idat.png", small_png(behind=chunk(b"IDAT") * 50_000)),
        ("profile.png", small_png(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**24))))),
        ("com.jpg", small_jpeg(b"\xff\xfe\0\2" * 5_000)),
        ("fill.jpg", small_jpeg(b"\xff" * 100_000)),
    ],
)
def test_a_film_with_many_small_pieces_within_the_limits_is_read(
    tmp_path: Path, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    assert read_grey(tmp_path / name).shape in ((8, 8), (64, 64))


def test_scans_are_fewer_the_larger_the_film() -> None:
    data = bytearray(small_jpeg(scans=30))
    at = data.index(b"\xff\xc2") + 5
    data[at : at + 4] = struct.pack(">HH", 10_000, 10_000)
    with pytest.raises(UnreadableFilm, match="too many scans: at most 20 of a JPEG of its size"):
        decode_grey(bytes(data))


def test_a_png_whose_data_cannot_hold_its_pixels_is_refused_before_it_is_decoded() -> None:
    data = bytearray(small_png())
    data[8:33] = chunk(b"IHDR", struct.pack(">IIBBBBB", 9_000, 9_000, 16, 0, 0, 0, 0))
    with pytest.raises(UnreadableFilm, match="bytes of image data do not fit its pixels"):
        decode_grey(bytes(data))
