"""How quickly does Hilum prepare DICOM films, and read their headers?

Per syntax, films a second of `hilum prepare dicom`, from the tree of files to the finished store with its split,
against

a) n processes that only read and prepare the same files with Hilum's own functions;
b) what is usually written: pydicom's ``pixel_array``, ``apply_modality_lut``, ``apply_voi_lut``, inversion,
   OpenCV's resize, in a process pool (pylibjpeg-openjpeg for JPEG 2000, python-gdcm for JPEG lossless,
   pydicom itself for native and RLE); needs these packages in this environment;
c) headers a second of `hilum.sources.archive.headers.read_headers` (its processes and pipes included) against
   ``dcmread(stop_before_pixels=True)`` in as many processes, on files of few pixels.

The films are phantoms with the noise of a detector. Every side starts its own processes each time, with their
imports; imports of the process that starts them are left out. What is compared runs in turns, in an order that
changes; each ratio is the median over the pairs of neighbours, in wall time and in processor time (of all
processes), with the lowest and the highest: of the whole, and of the films beyond the first fourth, whose cost is
that of a large archive's. The films of b are fewer, since it is slow. Besides, the peak of a worker's memory with one
film of 4000 px.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

warnings.simplefilter("ignore")
SIZE = 256
PICTURES = 20
FILMS = {
    "explicit": (700, 100),
    "rle": (400, 100),
    "lossless-1": (240, 60),
    "jpeg-2000": (40, 40),
}
"""Syntax -> films, and those of them that b reads."""
PART = 4
"""A fourth of the films is done first: the difference shows what further films cost."""
KINDS = ("wall", "processor")
PLUGINS = {"lossless-1": "gdcm", "jpeg-2000": "pylibjpeg"}


def drawn(side: int, seed: int) -> np.ndarray:
    """Return a phantom's film of 12 bits with the noise of a detector, int64 [side, side]."""
    from hilum.phantoms.cohort import cohort
    from hilum.phantoms.film import draw
    from hilum.phantoms.options import PhantomOptions

    films = list(cohort(PhantomOptions(2 * PICTURES, 512, 0)))
    grey = draw(films[seed], 512, 0)[0].astype(np.float32)
    film = cv2.resize(grey, (side, side), interpolation=cv2.INTER_CUBIC) * 16
    film += np.random.default_rng(seed).normal(0, 12, (side, side))
    return np.rint(film.clip(0, 4095)).astype(np.int64)


def write_films(folder: Path, syntax: str, count: int, side: int) -> list[Path]:
    """Write films of one syntax, each of its own patient and study; they show PICTURES pictures."""
    paths = [folder / f"{number:05d}.dcm" for number in range(count)]
    if folder.is_dir():  # by an earlier run
        return paths
    from dicom_files import Variant, dicom_bytes  # not in the processes that are timed

    folder.mkdir(parents=True)
    files = []
    for number in range(min(count, PICTURES)):
        film, inverted = drawn(side, number), number % 2 == 0
        variant = Variant(
            syntax, 4095 - film if inverted else film, syntax=syntax,
            photometric="MONOCHROME1" if inverted else "MONOCHROME2",
            windows=((2048,), (3900,)), slope=1, intercept=0, shape="INVERSE" if inverted else "IDENTITY",
            tags={
                "PatientID": "P1000000", "StudyInstanceUID": "1.2.3.1000000", "AccessionNumber": "A1000000",
                "SeriesInstanceUID": "1.2.3.1000000.1", "SOPInstanceUID": "1.2.3.1000000.1.1",
                "BodyPartExamined": "CHEST", "ViewPosition": "PA", "PresentationIntentType": "FOR PRESENTATION",
                "ImageType": ["ORIGINAL", "PRIMARY"],
            },
        )  # fmt: skip
        files.append(dicom_bytes(variant))
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
    from hilum.images.enhance import Preparation
    from hilum.images.read import read_grey

    return float(Preparation(SIZE).apply(read_grey(path))[0, 0])


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


def headers_of_pydicom(paths: list[Path]) -> int:
    """Read headers with pydicom, values unconverted."""
    import pydicom

    return sum("Rows" in pydicom.dcmread(path, stop_before_pixels=True) for path in paths)


def in_processes(work: Callable[[Any], Any], parts: list[Any], workers: int) -> None:
    """Do what is to be done in new processes."""
    with ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_one_thread
    ) as pool:
        list(pool.map(work, parts))


def with_hilum(folder: Path, workers: int) -> None:
    """Do what `hilum prepare dicom` does once it is imported, to the finished store and its split."""
    from hilum.images.decoding.film_process import processes_kept
    from hilum.sources import read_source
    from hilum.workflows.prepare.prepare import PrepareOptions, prepare

    with tempfile.TemporaryDirectory() as out, processes_kept():
        os.environ["HILUM_KEY_FILE"] = f"{out}/hilum.key"
        catalog = read_source("dicom", folder)
        result = prepare(catalog, f"{out}/store", PrepareOptions(SIZE, workers=workers))
    if result.rows_kept != result.rows_read:
        raise RuntimeError(f"{result.rows_kept} of {result.rows_read} films kept")


class Side(NamedTuple):
    """One of those compared, and how many films or headers it does; a part of them first."""

    do: Callable[[int], None]
    many: int

    @property
    def few(self) -> int:
        """The part."""
        return max(1, self.many // PART)


def compared(sides: dict[str, Side], pairs: int) -> dict[str, Any]:
    """Return each side's median rate, and how often the first is as quick as each of the others.

    ``whole`` counts a run from its start to its end, ``further`` what each film beyond the first ones costs.
    """
    rates: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for pair in range(pairs):
        for name in list(sides) if pair % 2 == 0 else reversed(sides):
            few, many = (timed(sides[name], count) for count in (sides[name].few, sides[name].many))
            rate = {}
            for kind in KINDS:
                rate[f"{kind}, whole"] = sides[name].many / many[kind]
                rate[f"{kind}, further"] = (sides[name].many - sides[name].few) / (
                    many[kind] - few[kind]
                )
            rates[name].append(rate)
    ours, *others = sides
    result: dict[str, Any] = {}
    for kind in rates[ours][0]:
        result[kind] = {
            "a_second": {
                name: round(statistics.median(rate[kind] for rate in of), 2)
                for name, of in rates.items()
            }
        }
        for name in others:
            ratios = [
                mine[kind] / theirs[kind]
                for mine, theirs in zip(rates[ours], rates[name], strict=True)
            ]
            result[kind][name] = [
                round(value, 3) for value in (statistics.median(ratios), min(ratios), max(ratios))
            ]
    return result


def timed(side: Side, count: int) -> dict[str, float]:
    """Return the seconds that so many take."""
    wall, processor = time.perf_counter(), _processor_seconds()
    side.do(count)
    taken = (time.perf_counter() - wall, _processor_seconds() - processor)
    print(
        f"{side.do.__name__}: {count} in {taken[0]:.1f} s, {taken[1]:.1f} s of processor",
        file=sys.stderr,
    )
    return dict(zip(KINDS, taken, strict=True))


def _processor_seconds() -> float:
    """Return the seconds of this process and of those that it has waited for."""
    own, ended = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


def of_films(syntax: str, paths: list[Path], usual: int, options: argparse.Namespace) -> Any:
    """Compare a and b on films of one syntax."""
    from hilum.sources import load_source
    from hilum.workflows.prepare import prepare  # noqa: F401 - imported before anything is timed

    load_source("dicom")
    workers = options.workers
    part = paths[0].parent.with_name(f"{syntax}-part")
    if not part.is_dir():
        part.mkdir()
        for path in paths[: max(1, len(paths) // PART)]:
            os.link(path, part / path.name)

    def hilum(count: int) -> None:
        with_hilum(paths[0].parent if count == len(paths) else part, workers)

    def bare(count: int) -> None:
        in_processes(by_hand, paths[:count], workers)

    def pydicom(count: int) -> None:
        in_processes(as_usual, paths[:count], workers)

    sides = {"hilum": Side(hilum, len(paths)), "a_bare": Side(bare, len(paths))}
    try:
        if usual:
            as_usual(paths[0])
            sides["b_usual"] = Side(pydicom, usual)
    except Exception as error:  # noqa: BLE001 - a package that b needs is missing
        print(f"{syntax}: b is not run: {error}"[:200], flush=True)
    bare(len(paths))  # the files come into the cache
    return compared(sides, options.pairs)


def of_headers(folder: Path, options: argparse.Namespace) -> Any:
    """Compare c."""
    from hilum.sources.archive.headers import read_headers

    tiny = write_films(folder, "explicit", options.headers, 16)
    names = [path.name for path in tiny]

    def hilum(count: int) -> None:
        read_headers(folder, names[:count], workers=options.workers)

    def dcmread(count: int) -> None:
        parts = [tiny[number : count : options.workers] for number in range(options.workers)]
        in_processes(headers_of_pydicom, parts, options.workers)

    dcmread(len(tiny))
    return compared(
        {"hilum": Side(hilum, len(tiny)), "c_dcmread": Side(dcmread, len(tiny))}, options.pairs
    )


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
    parser.add_argument("--films", type=int, help="of each syntax; by default enough for each")
    parser.add_argument(
        "--usual", type=int, help="films of each syntax that b reads; 0 leaves b out"
    )
    parser.add_argument("--side", type=int, default=2500, help="in pixels")
    parser.add_argument("--headers", type=int, default=20_000, help="0 leaves c out")
    parser.add_argument("--pairs", type=int, default=5, help="0 writes the films only")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--syntaxes", nargs="*", default=list(FILMS), choices=list(FILMS))
    parser.add_argument("--large-side", type=int, default=4000, help="0 leaves the peak out")
    parser.add_argument(
        "--folder", type=Path, help="where films are written, and stay; a new one by default"
    )
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    result: dict[str, Any] = {
        "side": options.side,
        "workers": options.workers,
        "pairs": options.pairs,
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        for syntax in options.syntaxes:
            films, usual = FILMS[syntax]
            films = options.films or films
            usual = usual if options.usual is None else options.usual
            paths = write_films(folder / syntax, syntax, films, options.side)
            if options.pairs:
                result[syntax] = of_films(syntax, paths, min(usual, films), options)
                print(syntax, films, result[syntax], flush=True)
            if options.folder is None:
                for written in folder.iterdir():
                    shutil.rmtree(written)
        if options.headers and options.pairs:
            result["c_headers"] = of_headers(folder / "headers", options)
            print("headers", result["c_headers"], flush=True)
        if options.large_side:
            large = {}
            for syntax in (*FILMS, "jpeg-ls", "htj2k", "jpeg-xl", "deflated"):
                (path,) = write_films(folder / f"large-{syntax}", syntax, 1, options.large_side)
                large[syntax] = peak(path)
            result["peak_mb"] = large
            print("peak", large, flush=True)
    print(json.dumps(result) if options.json else result)


if __name__ == "__main__":
    main()
