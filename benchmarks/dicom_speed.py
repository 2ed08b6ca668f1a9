"""How quickly does Hilum prepare DICOM films, and read their headers?

Per syntax, films a second of `hilum prepare dicom` (its processes started, headers read, store and split
written; Python's imports left out on both sides) against

a) n processes that only read and prepare the same files with Hilum's own functions;
b) what is usually written: pydicom's ``pixel_array``, ``apply_modality_lut``, ``apply_voi_lut``, inversion,
   OpenCV's resize, in a process pool (pylibjpeg-openjpeg for JPEG 2000, python-gdcm for JPEG lossless,
   pydicom itself for native and RLE); needs these packages in this environment;
c) headers a second of `hilum.images.dicom.header.read_header` against ``dcmread(stop_before_pixels=True)``,
   in as many processes each.

What is compared runs in turns; each ratio is the median over the pairs of neighbours, in wall time,
with the lowest and the highest. Besides, the peak of a worker's memory with films of 4000 px.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dicom_files import Variant, dicom_bytes

warnings.simplefilter("ignore")
SIZE = 256
PICTURES = 5
SYNTAXES = ("explicit", "rle", "lossless-1", "jpeg-2000")
PLUGINS = {"lossless-1": "gdcm", "jpeg-2000": "pylibjpeg"}


def drawn(side: int, seed: int) -> np.ndarray:
    """Return a film of 12 bits with the noise of a detector and a dark border, int64 [side, side]."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:side, :side] / side
    body = (
        2000
        + 1200 * np.sin(5 * across + seed) * np.cos(4 * down)
        + 500 * np.sin(40 * across * down)
    )
    film = body + rng.normal(0, 12, (side, side))
    film[: side // 30] = film[:, : side // 40] = 60
    return np.rint(film.clip(0, 4095)).astype(np.int64)


def write_films(folder: Path, syntax: str, count: int, side: int) -> list[Path]:
    """Write films of one syntax, each of its own patient and study; every fifth shows the same picture."""
    folder.mkdir(parents=True)
    files = []
    for number in range(min(count, PICTURES)):
        variant = Variant(
            syntax, drawn(side, number), syntax=syntax, photometric=("MONOCHROME1", "MONOCHROME2")[number % 2],
            windows=((2048,), (3000,)), slope=1, intercept=0, shape=("INVERSE", "IDENTITY")[number % 2],
            tags={
                "PatientID": "P1000000", "StudyInstanceUID": "1.2.3.1000000", "AccessionNumber": "A1000000",
                "SeriesInstanceUID": "1.2.3.1000000.1", "SOPInstanceUID": "1.2.3.1000000.1.1",
                "BodyPartExamined": "CHEST", "ViewPosition": "PA", "PresentationIntentType": "FOR PRESENTATION",
                "ImageType": ["ORIGINAL", "PRIMARY"],
            },
        )  # fmt: skip
        files.append(dicom_bytes(variant))
    paths = [folder / f"{number:05d}.dcm" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(
            files[number % PICTURES].replace(b"1000000", str(1_000_000 + number).encode())
        )
    return paths


def _one_thread() -> None:
    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")


def by_hand(path: Path) -> float:
    """Prepare a film with Hilum's functions alone."""
    from hilum.images.enhance import Preparation, pixel_hash
    from hilum.images.read import read_grey

    film = Preparation(SIZE).apply(read_grey(path))
    pixel_hash(film)
    return float(film[0, 0])


def as_usual(path: Path) -> float:
    """Prepare a film as is usually written with pydicom and OpenCV."""
    import pydicom
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    dataset = pydicom.dcmread(path)
    plugin = PLUGINS.get(path.parent.name)
    if plugin is not None:
        dataset.pixel_array_options(decoding_plugin=plugin)
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        values = values.max() - values
    values = (values - values.min()) / (values.max() - values.min()) * 255
    film = cv2.resize(values.astype(np.uint8), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return float(film[0, 0])


def headers_of_hilum(paths: list[Path]) -> int:
    """Read headers with Hilum."""
    from hilum.images.dicom.header import read_header

    return sum(read_header(path).rows is not None for path in paths)


def headers_of_pydicom(paths: list[Path]) -> int:
    """Read headers with pydicom, values unconverted."""
    import pydicom

    return sum("Rows" in pydicom.dcmread(path, stop_before_pixels=True) for path in paths)


def with_hilum(folder: Path, workers: int) -> None:
    """Do what `hilum prepare dicom` does once it is imported, to the finished store and its split."""
    from hilum.sources import read_source
    from hilum.workflows.prepare.prepare import PrepareOptions, prepare

    with tempfile.TemporaryDirectory() as out:
        os.environ["HILUM_KEY_FILE"] = f"{out}/hilum.key"
        catalog = read_source("dicom", folder)
        result = prepare(catalog, f"{out}/store", PrepareOptions(SIZE, workers=workers))
    if result.rows_kept != result.rows_read:
        raise RuntimeError(f"{result.rows_kept} of {result.rows_read} films kept")


def ratios(first: Callable[[], Any], second: Callable[[], Any], pairs: int) -> dict[str, float]:
    """Return how often the first is done in the time of the second: median, lowest, highest."""
    seconds: list[tuple[float, float]] = []
    for pair in range(pairs):
        taken = {}
        for which in (0, 1) if pair % 2 == 0 else (1, 0):
            began = time.perf_counter()
            (first, second)[which]()
            taken[which] = time.perf_counter() - began
        seconds.append((taken[0], taken[1]))
    values = [theirs / ours for ours, theirs in seconds]
    return {
        "ratio": round(statistics.median(values), 2), "lowest": round(min(values), 2),
        "highest": round(max(values), 2), "seconds": round(statistics.median(ours for ours, _ in seconds), 2),
        "other_seconds": round(statistics.median(theirs for _, theirs in seconds), 2),
    }  # fmt: skip


PEAK = """
import sys
from pathlib import Path
import cv2
cv2.setNumThreads(1)
from hilum.images.enhance import Preparation
from hilum.images.read import read_grey
Preparation(256).apply(read_grey(Path(sys.argv[1])))
print(next(int(l.split()[1]) // 1024 for l in open("/proc/self/status") if l.startswith("VmHWM")))
"""


def peak(path: Path) -> int:
    """Return the peak of memory of a process that prepares one film, in MB."""
    shown = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], check=True, capture_output=True, text=True
    )
    return int(shown.stdout)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=int, default=48, help="of each syntax")
    parser.add_argument("--side", type=int, default=2500, help="in pixels")
    parser.add_argument("--headers", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--syntaxes", nargs="+", default=SYNTAXES)
    parser.add_argument("--large-side", type=int, default=4000)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    result: dict[str, Any] = {
        "films": options.films,
        "side": options.side,
        "workers": options.workers,
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(options.workers, initializer=_one_thread) as pool,
    ):
        list(pool.map(abs, range(8)))
        for syntax in options.syntaxes:
            paths = write_films(Path(folder, syntax), syntax, options.films, options.side)

            def hilum(paths: list[Path] = paths) -> None:
                with_hilum(paths[0].parent, options.workers)

            def bare(paths: list[Path] = paths) -> None:
                list(pool.map(by_hand, paths))

            def usual(paths: list[Path] = paths) -> None:
                list(pool.map(as_usual, paths))

            try:
                bare(), usual()  # imports, and files into the cache
                result[syntax] = {
                    "a_bare": ratios(hilum, bare, options.pairs),
                    "b_usual": ratios(hilum, usual, options.pairs),
                }
            except Exception as error:  # noqa: BLE001 - a package that b needs is missing
                result[syntax] = {
                    "a_bare": ratios(hilum, bare, options.pairs),
                    "b_usual": f"not run: {error}"[:200],
                }
            print(syntax, result[syntax], flush=True)
            for path in paths:
                path.unlink()
        large = {}
        for syntax in (*options.syntaxes, "jpeg-ls", "htj2k", "jpeg-xl", "deflated"):
            (path,) = write_films(Path(folder, f"large-{syntax}"), syntax, 1, options.large_side)
            large[syntax] = peak(path)
        result["peak_mb"] = large
        print("peak", large, flush=True)
        tiny = write_films(Path(folder, "headers"), "explicit", options.headers, 16)
        parts = [tiny[number :: options.workers] for number in range(options.workers)]
        result["c_headers"] = ratios(
            lambda: list(pool.map(headers_of_hilum, parts)),
            lambda: list(pool.map(headers_of_pydicom, parts)),
            options.pairs,
        )
    print(json.dumps(result) if options.json else result)


if __name__ == "__main__":
    main()
