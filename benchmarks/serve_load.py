"""How fast `hilum serve` answers, beside an in-process loop and the server that a user would write first.

    python benchmarks/serve_load.py BUNDLE --json

Films are phantoms of 128 to 512 px (45 % PNG, 45 % JPEG, 10 % DICOM). Server and load generator
share the machine, as far as `--apart` does not hold each on a processor of its own; the generator's
processor time is stated. Measured, each once, one after the other:

- the in-process loop: one process reads, prepares and batches the same films with the same model;
- 32 clients that each send the next film when they have their answer: films a second, latencies;
- ten times overload: films are sent at ten times the loop's rate, each on a connection of its own
  that is given up after two seconds; goodput is the right answers within them a second;
- seconds from start to the first 200 of /ready, and whether torch was imported;
- `--flat N`: memory of the service over N requests.

An answer counts where it carries its film's hash and finite numbers for every finding.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from http_load import CLIENTS, closed_loop, open_loop, requests_of

OVERLOAD = 10
SIDES = (128, 224, 320, 512)
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundle", type=Path, help="a bundle of `hilum export`")
    parser.add_argument("--films", type=int, default=60, help="different films")
    parser.add_argument("--seconds", type=float, default=12.0, help="of each measurement")
    parser.add_argument("--flat", type=int, default=0, help="requests over which memory is read")
    parser.add_argument(
        "--apart", action="store_true", help="server and load generator on a processor each"
    )
    parser.add_argument("--only", choices=("loop", "hilum", "naive", "flat"), action="append")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    given = parser.parse_args()
    parts = given.only or ["loop", "naive", "hilum", *(["flat"] if given.flat else [])]
    servers = own = os.sched_getaffinity(0)
    if given.apart:
        first, second, *_ = sorted(servers)
        servers, own = {first}, {second}
    result: dict[str, Any] = {
        "server_processors": len(servers),
        "clients": CLIENTS,
        "films": given.films,
    }
    with tempfile.TemporaryDirectory() as folder:
        films = draw_films(Path(folder), given.films)
        result["bytes_a_film"] = round(statistics.mean(map(len, films)))
        os.sched_setaffinity(0, own)
        if "loop" in parts:
            result["loop"] = measured_loop(given.bundle, Path(folder), given.seconds, servers)
        rate = result.get("loop", {}).get("films_a_second", 100.0)
        for name in ("naive", "hilum"):
            if name in parts:
                result[name] = measured_server(
                    name, given.bundle, films, given.seconds, servers, rate
                )
        if "flat" in parts:
            result["flat"] = measured_memory(given.bundle, films, given.flat, servers)
    result |= ratios(result)
    print(json.dumps(result) if given.json else json.dumps(result, indent=1))


def draw_films(folder: Path, count: int) -> list[bytes]:
    """Return frontal phantoms as files of the three kinds; they are written into the folder too."""
    from hilum.phantoms.cohort import cohort
    from hilum.phantoms.film import draw
    from hilum.phantoms.options import PhantomOptions

    frontal = [
        film for film in cohort(PhantomOptions(count=2 * count)) if film.position != "LATERAL"
    ]
    films = []
    for number, film in enumerate(frontal[:count]):
        grey = draw(film, SIDES[number % len(SIDES)], 0)[0]
        if number % 10 == 9:
            films.append(as_dicom(grey))
        else:
            films.append(cv2.imencode(".png" if number % 2 else ".jpg", grey)[1].tobytes())
        folder.joinpath(f"{number:04d}").write_bytes(films[-1])
    return films


def as_dicom(grey: np.ndarray) -> bytes:
    """Return a film of 12 bits as a DICOM file."""
    import io

    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    values = grey.astype(np.uint16) * 16
    film = Dataset()
    film.SOPClassUID, film.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3.4"
    film.Modality, film.BodyPartExamined, film.ViewPosition = "DX", "CHEST", "PA"
    film.PhotometricInterpretation, film.SamplesPerPixel = "MONOCHROME2", 1
    film.Rows, film.Columns = values.shape
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
    film.WindowCenter, film.WindowWidth, film.PixelData = "2048", "4096", values.tobytes()
    film["PixelData"].VR = "OW"
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID
    film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID
    target = io.BytesIO()
    film.save_as(target, enforce_file_format=True)
    return target.getvalue()


LOOP = """
import json, os, sys, time
from pathlib import Path
import cv2, numpy as np
from hilum.images.read import read_grey
from hilum.serving.model import open_model
cv2.setNumThreads(1)
model = open_model(Path(sys.argv[1]), "cpu", len(os.sched_getaffinity(0)))
files, seconds = sorted(Path(sys.argv[2]).iterdir()), float(sys.argv[3])
preparation, done = model.facts.preparation, 0
def batch(start):
    paths = (files[(start + number) % len(files)] for number in range(16))
    return np.stack([preparation.apply(read_grey(path, rendering=preparation.dicom)) for path in paths])
for start in range(0, len(files), 16):
    model.logits(batch(start))
began = time.perf_counter()
while time.perf_counter() - began < seconds:
    model.logits(batch(done))
    done += 16
print(json.dumps(done / (time.perf_counter() - began)))
"""


def measured_loop(
    bundle: Path, folder: Path, seconds: float, processors: set[int]
) -> dict[str, float]:
    """Return the rate of a loop that reads, prepares and batches the films in one process."""
    with started(
        [sys.executable, "-c", LOOP, str(bundle), str(folder), str(seconds)], processors
    ) as process:
        output, _ = process.communicate()
    return {"films_a_second": round(float(output), 2)}


def started(command: Sequence[str], processors: set[int]) -> subprocess.Popen[bytes]:
    """Start a process on some processors."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)  # which the child inherits
    try:
        search = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": search, "ORT_DISABLE_TELEMETRY": "1"},
        )
    finally:
        os.sched_setaffinity(0, own)


def ended(process: subprocess.Popen[bytes]) -> None:
    """End a server: the naive one would first answer all that it was sent too much."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def measured_server(
    name: str,
    bundle: Path,
    films: Sequence[bytes],
    seconds: float,
    processors: set[int],
    rate: float,
) -> dict[str, Any]:
    """Start a server, measure it closed and overloaded, and end it."""
    process, port, ready = server(name, bundle, processors)
    try:
        requests = requests_of(films, port)
        closed_loop(port, requests, 2.0)
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        load = closed_loop(port, requests, seconds)
        took = time.perf_counter() - began
        generator = processor_seconds(before)
        before = resource.getrusage(resource.RUSAGE_SELF)
        over = open_loop(port, requests, OVERLOAD * rate, seconds)
        return {
            "ready_after": ready,
            "torch_imported": imports_torch(process.pid),
            "films_a_second": round(len(load.latencies) / took, 2),
            "p50_ms": round(1000 * float(np.quantile(load.latencies, 0.5)), 1),
            "p99_ms": round(1000 * float(np.quantile(load.latencies, 0.99)), 1),
            "statuses": load.statuses,
            "wrong": load.wrong + over.wrong,
            "generator_processor_seconds": round(generator, 2),
            "of_seconds": round(took, 2),
            "overload": over.statuses,
            "overload_generator_processor_seconds": round(processor_seconds(before), 2),
            "goodput": round(len(over.latencies) / seconds, 2),
        }
    finally:
        ended(process)


def server(
    name: str, bundle: Path, processors: set[int], *options: str
) -> tuple[subprocess.Popen[bytes], int, float]:
    """Start a server; return its process, port, and the seconds until it answered."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    hilum = ["-m", "hilum", "serve", str(bundle), "--port", str(port), *options]
    naive = [str(ROOT / "benchmarks" / "naive_server.py"), str(bundle), str(port)]
    began = time.perf_counter()
    process = started([sys.executable, *(hilum if name == "hilum" else naive)], processors)
    path = "ready" if name == "hilum" else "docs"
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5).close()
            return process, port, round(time.perf_counter() - began, 2)
        except OSError as error:
            if process.poll() is not None or time.perf_counter() - began > 60:
                raise SystemExit(f"the server {name} did not start") from error
            time.sleep(0.02)


def measured_memory(
    bundle: Path, films: Sequence[bytes], count: int, processors: set[int]
) -> dict[str, Any]:
    """Return the service's memory in MB after each tenth of many requests, and the answers' statuses."""
    process, port, _ = server("hilum", bundle, processors)
    try:
        requests, megabytes, statuses, wrong = requests_of(films, port), [], {}, 0
        for _ in range(10):
            load = closed_loop(port, requests, 0, count // 10)
            wrong += load.wrong
            for status, number in load.statuses.items():
                statuses[status] = statuses.get(status, 0) + number
            megabytes.append(round(memory_of(process.pid), 1))
        return {"megabytes": megabytes, "statuses": statuses, "wrong": wrong}
    finally:
        ended(process)


def memory_of(pid: int) -> float:
    """Return the memory of a process and all below it in MB; pages that they share count once."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
        below = children_of(pid)
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0.0
    own = sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return own / 1024 + sum(map(memory_of, below))


def children_of(pid: int) -> list[int]:
    """Return a process's children."""
    return [
        int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    ]


def imports_torch(pid: int) -> bool:
    """Whether a process has torch's library in its memory."""
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text("utf-8", "replace")


def processor_seconds(before: resource.struct_rusage) -> float:
    """Return the processor time of this process since then."""
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ratios(result: dict[str, Any]) -> dict[str, float]:
    """Return what the targets are about, of what was measured."""
    found = {}
    loop, naive, hilum = (result.get(name) for name in ("loop", "naive", "hilum"))
    if loop and hilum:
        found["throughput_of_loop"] = round(hilum["films_a_second"] / loop["films_a_second"], 3)
    if naive and hilum:
        found["throughput_of_naive"] = round(hilum["films_a_second"] / naive["films_a_second"], 3)
        found["p99_of_naive"] = round(hilum["p99_ms"] / naive["p99_ms"], 3)
        found["goodput_of_naive"] = round(hilum["goodput"] / max(naive["goodput"], 1e-9), 3)
    return found


if __name__ == "__main__":
    main()
