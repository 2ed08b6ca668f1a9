"""Mutated films: `prepare` never crashes, never hangs, and accounts for each; good films among them stay exact."""

from __future__ import annotations

import csv
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hilum.catalog import Catalog, film_table
from hilum.images.enhance import Preparation
from hilum.images.read import read_grey
from hilum.images.store import Store
from hilum.images.store_writing import FAILURES
from hilum.workflows.prepare.prepare import PrepareOptions, prepare

CAP = 200_000
"""Pixels; small, so that a mutated header cannot ask for gigabytes."""
REASONS = {
    "empty",
    "not a PNG, JPEG or DICOM image",
    "truncated",
    "damaged",
    "zero size",
    "too many pixels",
}
"""What may befall a mutated film. A decoder that dies or hangs is not among it."""

Mutation = Callable[[bytearray, np.random.Generator], bytes]


def originals() -> list[bytes]:
    """Return small films of every kind."""
    rng = np.random.default_rng(1)
    grey = np.add.outer(np.arange(40), 2 * np.arange(50)).astype(np.uint8) // 2 + rng.integers(
        0, 9, (40, 50), np.uint8
    )
    colour = Image.fromarray(np.stack([grey, 255 - grey, grey // 2], -1))
    plain, exif = Image.fromarray(grey), Image.Exif()
    exif[0x0112] = 6
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        (plain, "PNG", {}),
        (Image.fromarray(grey.astype(np.uint16) * 16), "PNG", {}),
        (colour.quantize(16), "PNG", {"transparency": 0}),
        (Image.merge("LA", [plain, plain]), "PNG", {"exif": exif}),
        (plain, "JPEG", {"exif": exif}),
        (colour, "JPEG", {}),
        (colour, "JPEG", {"progressive": True}),
        (colour, "JPEG", {"restart_marker_rows": 1}),
        (colour.convert("CMYK"), "JPEG", {}),
    ]
    return [encoded(image, kind, options) for image, kind, options in kinds]


def encoded(image: Image.Image, kind: str, options: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def flip_bits(data: bytearray, rng: np.random.Generator) -> bytes:
    for place in rng.integers(0, len(data), rng.integers(1, 9)):
        data[place] ^= 1 << rng.integers(8)
    return bytes(data)


def set_bytes(data: bytearray, rng: np.random.Generator) -> bytes:
    for place in rng.integers(0, len(data), rng.integers(1, 9)):
        data[place] = rng.choice([0, 1, 0x7F, 0x80, 0xD9, 0xFF])
    return bytes(data)


def change_header(data: bytearray, rng: np.random.Generator) -> bytes:
    data[rng.integers(2, 40)] = rng.integers(256)
    return bytes(data)


def cut(data: bytearray, rng: np.random.Generator) -> bytes:
    return bytes(data[: rng.integers(0, len(data))])


def leave_out(data: bytearray, rng: np.random.Generator) -> bytes:
    start, length = rng.integers(0, len(data)), rng.integers(1, 200)
    return bytes(data[:start] + data[start + length :])


def repeat(data: bytearray, rng: np.random.Generator) -> bytes:
    start, end = sorted(rng.integers(0, len(data), 2))
    return bytes(data[:end] + data[start:])


def scatter_noise(data: bytearray, rng: np.random.Generator) -> bytes:
    start = rng.integers(0, len(data))
    noise = rng.bytes(rng.integers(1, 100))
    return bytes(data[:start] + noise + data[start + len(noise) :])


def append(data: bytearray, rng: np.random.Generator) -> bytes:
    return bytes(data) + rng.bytes(50)


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits,
    set_bytes,
    change_header,
    cut,
    leave_out,
    repeat,
    scatter_noise,
    append,
)


def mend_checksums(data: bytes) -> bytes:
    """Return a PNG whose chunks have right checksums again, so that the decoder itself is reached."""
    at, mended = 8, data[:8]
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if at + 12 + length > len(data):
            break
        body = data[at + 4 : at + 8 + length]
        mended += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return mended + data[at:]


def write_mutants(root: Path, count: int, seed: int) -> list[str]:
    """Write so many mutants and, after every ninth, a sound film; return the names."""
    rng, sources, names = np.random.default_rng(seed), originals(), []
    for number in range(count):
        source = sources[number % len(sources)]
        mutant = MUTATIONS[rng.integers(len(MUTATIONS))](bytearray(source), rng)
        if source.startswith(b"\x89PNG") and rng.random() < 0.5:
            mutant = mend_checksums(mutant)
        names.append(f"{number:05d}.{rng.choice(['png', 'jpg'])}")
        (root / names[-1]).write_bytes(mutant)
        if number % len(sources) == 0:
            names.append(f"{number:05d}-sound.png")
            (root / names[-1]).write_bytes(sources[number // len(sources) % len(sources)])
    return names


def prepare_mutants(root: Path, count: int, seed: int) -> None:
    (root / "films").mkdir()
    names = write_mutants(root / "films", count, seed)
    table = film_table(pd.DataFrame({"path": names, "patient": names}), ())
    options = PrepareOptions(16, workers=2, max_pixels=CAP, patience=20)
    result = prepare(
        Catalog("mutants", root / "films", (), table, len(names)), root / "out", options
    )
    assert result.rows_read == len(names) == result.rows_kept + sum(result.rows_failed.values())
    assert set(result.rows_failed) <= REASONS
    assert result.rows_failed["truncated"] > 0
    assert result.rows_failed["damaged"] > 0
    with (root / "out" / FAILURES).open(newline="") as file:
        failed = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    store = Store.open(root / "out")
    assert set(store.catalog["path"]) | set(failed) == set(names)
    assert not set(store.catalog["path"]) & set(failed)
    sound = store.catalog["path"].str.endswith("sound.png").to_numpy(bool)
    assert sound.sum() == sum(name.endswith("sound.png") for name in names)
    rows = np.flatnonzero(sound)
    expected = [
        Preparation(16).apply(read_grey(root / "films" / path))
        for path in store.catalog["path"][rows]
    ]
    assert np.array_equal(store.read(rows), expected)
    store.verify()


def test_mutated_films(tmp_path: Path) -> None:
    prepare_mutants(tmp_path, 500, seed=0)


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(1, 11))
def test_many_mutated_films(tmp_path: Path, seed: int) -> None:
    prepare_mutants(tmp_path, 500, seed)
