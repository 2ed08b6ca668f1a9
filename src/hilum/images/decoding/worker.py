"""The decoding process: reads jobs as JSON lines, writes prepared films into the shard, answers in JSON lines.

A job may also be to call a function for each of some paths, as an archive's headers are read.
It is started as ``python -m hilum.images.decoding.worker`` and imports NumPy and OpenCV only, so
that it starts in a fraction of a second. A decoder that crashes ends this process and no other; one
that hangs is ended by the kernel's alarm, also when the parent process is gone. The film being
decoded is recorded in a small file that outlives this process.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import cv2
import numpy as np

from hilum.images.enhance import Preparation, pixel_hash
from hilum.images.film_check import appearances, thumbnail
from hilum.images.read import NO_MEMORY, UnreadableFilm
from hilum.images.rendering import Rendering

DEFAULT_READER = "hilum.images.read:read_grey"
CURRENT = struct.Struct("<qq")
"""The film being decoded: the job's number and the film's index in it; -1 before the first."""
MEMORY = 2**29
"""Bytes that a film or a header may take, beside those of the process itself."""


class Setup(NamedTuple):
    """What stays the same from job to job."""

    reader: Callable[[Path, int, Rendering, list[str]], np.ndarray]
    preparation: Preparation
    max_pixels: int
    patience: float
    memory: int


def main() -> None:
    """Do jobs from standard input until it ends; the argument is the descriptor of the record of the current film."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    cv2.setNumThreads(1)
    current, setup, limited = int(sys.argv[1]), None, False
    answers, errors = os.fdopen(os.dup(1), "wb"), os.dup(2)
    # What decoders print must neither mix with answers nor fill the disk.
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    for line in sys.stdin.buffer:
        job = json.loads(line)
        if "number" in job and setup is not None:
            _answer(answers, _do(job, setup, current))
            continue
        os.dup2(errors, 2)  # a reader that cannot be imported is told of
        if "function" in job:
            function = _named(job["function"])
            os.dup2(nothing, 2)
            if not limited:
                limit_memory(MEMORY)
                limited = True
            _answer(answers, _call(function, job["paths"], job["patience"]))
            continue
        setup = Setup(
            partial(_named(job["reader"]), **job["options"]),
            Preparation.from_json(job["preparation"]),
            job["max_pixels"],
            float(job["patience"]),
            job["memory"],
        )
        os.dup2(nothing, 2)
        limit_memory(setup.memory)
        _answer(answers, {"ready": True})


def _named(name: str) -> Callable[..., Any]:
    """Import a function by ``module:function``."""
    module, _, function = name.partition(":")
    return cast("Callable[..., Any]", getattr(importlib.import_module(module), function))


def _call(function: Callable[[Path], Any], paths: list[str], patience: float) -> list[Any]:
    """Return a function's results for paths; one that takes longer ends the process."""
    results = []
    for path in paths:
        signal.setitimer(signal.ITIMER_REAL, patience)
        try:
            results.append(function(Path(path)))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    return results


def limit_memory(more: int) -> None:
    """Let this process take so many bytes more than it has; where it asks for others, decoding fails.

    The kernel counts what is written to (``VmData``), not the libraries that are mapped.
    """
    status = Path("/proc/self/status").read_text("ascii")
    has = next(int(line.split()[1]) * 1024 for line in status.splitlines() if "VmData" in line)
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = has + more if most == resource.RLIM_INFINITY else min(has + more, most)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _do(job: dict[str, Any], setup: Setup, current: int) -> dict[str, Any]:
    """Return the result for each film, in order, and the seconds taken; or why nothing can be written."""
    began = time.perf_counter()
    film_bytes, films = setup.preparation.size**2, []
    thumbnails: list[np.ndarray] = []
    try:
        shard = os.open(job["shard"], os.O_WRONLY)
        try:
            for index, path in enumerate(job["paths"]):
                os.pwrite(current, CURRENT.pack(job["number"], index), 0)
                offset = job["offset"] + index * film_bytes
                films.append(_film(Path(job["root"], path), shard, offset, setup, thumbnails))
        finally:
            os.close(shard)
    except OSError as error:
        return {"number": job["number"], "fault": [error.errno, error.strerror, job["shard"]]}
    shapes = [(film[1], film[2]) for film in films if len(film) > 2]
    seen = iter(appearances(thumbnails, shapes))  # together, which costs half of one by one
    films = [film if len(film) == 2 else [*film, next(seen)] for film in films]
    return {"number": job["number"], "films": films, "seconds": time.perf_counter() - began}


def _film(
    path: Path, shard: int, offset: int, setup: Setup, thumbnails: list[np.ndarray]
) -> list[Any]:
    """Prepare a film and write it at ``offset``; return ``[hash, height, width, notes]`` or ``[reason, detail]``.

    The thumbnail of a film that can be read is added to ``thumbnails``.
    """
    signal.setitimer(signal.ITIMER_REAL, setup.patience)
    try:
        notes: list[str] = []
        grey = setup.reader(path, setup.max_pixels, setup.preparation.dicom, notes)
        film, small = setup.preparation.apply(grey), thumbnail(grey)
    except UnreadableFilm as error:
        return [error.reason, error.detail]
    except (MemoryError, cv2.error) as error:
        if isinstance(error, cv2.error) and error.code != NO_MEMORY:
            return ["damaged", f"OpenCV's {error.func or 'function'} refuses it"]
        return ["unreadable", f"needs more than {setup.memory >> 20} MB of memory"]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    data = film.reshape(-1).data
    while data:  # a write may take only a part of it
        written = os.pwrite(shard, data, offset)
        data, offset = data[written:], offset + written
    thumbnails.append(small)
    return [pixel_hash(film), *grey.shape, notes]


def _answer(answers: BinaryIO, value: dict[str, Any] | list[Any]) -> None:
    answers.write(json.dumps(value).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
