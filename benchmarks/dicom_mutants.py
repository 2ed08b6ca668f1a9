"""Does a damaged or hostile DICOM file cost more than it should, or end anything but its own reading?

Reads some 45 bombs and 2,000 seeded mutants of valid files (flipped bits, overwritten, dropped and
repeated bytes, cut ends, wrong lengths) in a process as `hilum prepare` has it, one after the other,
and measures the time and the peak of memory of each. Then all of them go through the worker pool of
`hilum predict`. Exit 1 where a file takes longer than 2 s of processor time or 512 MB, fails in
another way than by a refusal, or ends a process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dicom_bombs import bombs
from dicom_files import Lut, Variant, dicom_bytes
from dicom_variants import film

SECONDS, MEGABYTES = 2.0, 512
SYNTAXES = (
    "explicit", "implicit", "big-endian", "deflated", "deflated-frame", "rle", "jpeg-8", "jpeg-12", "lossless-1",
    "jpeg-ls", "jpeg-2000", "htj2k", "jpeg-xl",
)  # fmt: skip


def bases() -> list[bytes]:
    """Return one valid file of each syntax, and some with tables and padding."""
    files = []
    for name in SYNTAXES:
        bits = 8 if name == "jpeg-8" else 12
        samples = np.tile(film(bits), (6, 5))
        files.append(
            dicom_bytes(Variant(name, samples, bits, allocated=8 if bits == 8 else 16, syntax=name))
        )
    curve = tuple(range(4096))
    for table in ("voi_lut", "modality_lut"):
        files.append(dicom_bytes(Variant(table, film(12), **{table: Lut(0, curve, 12)})))
    files.append(
        dicom_bytes(Variant("padded", film(12), padding=0, windows=((2000, 5), (3000, 1))))
    )
    return files


def mutants(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield damaged files."""
    rng, files = np.random.default_rng(seed), bases()
    for number in range(count):
        data = bytearray(files[number % len(files)])
        kind = ("bits", "random", "dropped", "repeated", "cut", "length", "zeros")[
            number // len(files) % 7
        ]
        # Half of them before the pixels, where the structure is.
        most = len(data) if rng.random() < 0.5 else min(len(data), 1200)
        at = int(rng.integers(132, most))
        length = int(rng.integers(1, 60))
        if kind == "bits":
            for _ in range(int(rng.integers(1, 4))):
                data[int(rng.integers(132, most))] ^= 1 << int(rng.integers(8))
        elif kind == "random":
            data[at : at + length] = rng.bytes(len(data[at : at + length]))
        elif kind == "dropped":
            del data[at : at + length]
        elif kind == "repeated":
            data[at:at] = data[at : at + length] * int(rng.integers(1, 50))
        elif kind == "cut":
            del data[at:]
        elif kind == "length":
            data[at : at + 4] = rng.choice(
                [b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff", b"\0\0\0\x80", b"\xff\xff\0\0"]
            )
        else:
            data[at : at + length] = bytes(len(data[at : at + length]))
        yield f"{kind} {number}", bytes(data)


READER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
from pathlib import Path
import cv2
cv2.setNumThreads(1)
from hilum.images.read import UnreadableFilm, read_grey
from hilum.images.dicom import film as _
import imagecodecs
[getattr(imagecodecs, f"{name}_version")() for name in ("jpeg8", "jpegls", "jpeg2k", "jpegxl", "dicomrle")]
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
for line in sys.stdin:
    open("/proc/self/clear_refs", "w").write("5")
    began = time.process_time()
    try:
        grey = read_grey(Path(line.strip()))
        said = "read"
    except UnreadableFilm as error:
        said = error.reason
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"[:200]
    print(json.dumps([said, time.process_time() - began, peak()]), flush=True)
"""
REFUSED = {
    "truncated", "damaged", "not supported", "too many pixels", "zero size", "empty",
    "not a PNG, JPEG or DICOM image",
}  # fmt: skip


def measured(paths: list[Path]) -> Iterator[tuple[str, float, float]]:
    """Yield what reading each file gave, its processor time and the peak of memory of the process."""
    process = None
    for path in paths:
        if process is None or process.poll() is not None:
            process = subprocess.Popen(
                [sys.executable, "-c", READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            yield f"died ({process.wait()})", 0.0, 0.0
        else:
            said, seconds, megabytes = json.loads(answer)
            yield said, seconds, megabytes
    if process is not None:
        process.communicate()


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        names, paths, kinds = [], [], []
        for kind, files in (
            ("bombs", bombs()),
            ("mutants", mutants(options.mutants, options.seed)),
        ):
            for name, data in files:
                path = Path(folder) / f"{len(paths):05d}.dcm"
                path.write_bytes(data)
                names.append(name), paths.append(path), kinds.append(kind)
        outcomes = list(measured(paths))
        pooled = through_pool(paths)
    faults = []
    result: dict[str, Any] = {}
    for kind in ("bombs", "mutants"):
        rows = [
            (name, *row) for name, row, of in zip(names, outcomes, kinds, strict=True) if of == kind
        ]
        for name, said, seconds, megabytes in rows:
            if seconds > SECONDS or megabytes > MEGABYTES or said not in {"read", *REFUSED}:
                faults.append(f"{name}: {said}, {seconds:.1f} s, {megabytes:.0f} MB")
        result[kind] = {
            "files": len(rows), **Counter(row[1] for row in rows), "slowest_s": round(max(row[2] for row in rows), 2),
            "largest_mb": round(max(row[3] for row in rows)),
        }  # fmt: skip
        if kind == "bombs":
            for name, said, seconds, megabytes in rows:
                print(f"{said:16} {seconds:6.2f} s {megabytes:5.0f} MB  {name}")
    result["pool"] = pooled
    faults += [
        f"the pool: {said} {count}" for said, count in pooled.items() if said.startswith("decoder")
    ]
    result["faults"] = faults
    print(json.dumps(result) if options.json else result)
    return 1 if faults else 0


def through_pool(paths: list[Path]) -> dict[str, Any]:
    """Return what the limited worker processes of `hilum predict` say of all files, by reason."""
    from hilum.images.decoding.decoder import Decoder
    from hilum.images.enhance import Preparation
    from hilum.images.read import UnreadableFilm

    began = time.perf_counter()
    with Decoder(Preparation(64)) as decoder:
        said = Counter(
            film.reason if isinstance(film, UnreadableFilm) else "read"
            for film in decoder.films(paths)
        )
    return {**said, "seconds": round(time.perf_counter() - began, 1)}


if __name__ == "__main__":
    sys.exit(main())
