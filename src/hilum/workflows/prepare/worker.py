"""The process that decodes: JSON lines of jobs in, prepared films straight into the shard, JSON lines of answers out.

It is started as ``python -m hilum.workflows.prepare.worker`` and imports NumPy and OpenCV only, so
that it starts in a blink. A decoder that dies takes this process along, nothing else; one that
hangs is ended by the kernel's alarm, also when the process that started this one is gone. Which
film is at work stands in a small file that outlives it.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np

from hilum.images.enhance import Preparation, pixel_hash
from hilum.images.read import UnreadableFilm

DEFAULT_READER = "hilum.images.read:read_grey"
PLACE = struct.Struct("<qq")
"""The film at work: the job's number and the film's place in it; -1 before the first."""


class Work(NamedTuple):
    """What stays the same from job to job."""

    reader: Callable[[Path, int], np.ndarray]
    preparation: Preparation
    max_pixels: int
    patience: float
    place: int
    """Descriptor of the file that says which film is at work."""


def main() -> None:
    """Serve jobs from standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    cv2.setNumThreads(1)
    answers = os.fdopen(os.dup(1), "wb")
    work = _set_up(json.loads(sys.stdin.buffer.readline()))
    _silence(1, 2)  # what decoders print must neither mix with answers nor pile up
    _answer(answers, {"ready": True})
    for line in sys.stdin.buffer:
        _answer(answers, _do(json.loads(line), work))


def _set_up(setup: dict[str, Any]) -> Work:
    module, _, name = setup["reader"].partition(":")
    reader = getattr(importlib.import_module(module), name)
    place = os.open(setup["place"], os.O_WRONLY)
    return Work(
        reader,
        Preparation.from_json(setup["preparation"]),
        setup["max_pixels"],
        float(setup["patience"]),
        place,
    )


def _do(job: dict[str, Any], work: Work) -> dict[str, Any]:
    """Return what became of each film, in order, and the seconds it took; or why nothing can be written."""
    began = time.perf_counter()
    films = []
    try:
        shard = os.open(job["shard"], os.O_WRONLY)
        try:
            for place, path in enumerate(job["paths"]):
                os.pwrite(work.place, PLACE.pack(job["number"], place), 0)
                films.append(
                    _film(
                        Path(job["root"], path),
                        shard,
                        job["offset"] + place * work.preparation.size**2,
                        work,
                    )
                )
        finally:
            os.close(shard)
    except OSError as error:
        return {"number": job["number"], "fault": error.strerror or str(error)}
    return {"number": job["number"], "films": films, "seconds": time.perf_counter() - began}


def _film(path: Path, shard: int, offset: int, work: Work) -> list[Any]:
    """Prepare one film and write it to its place; return ``[hash, height, width]`` or ``[reason, detail]``."""
    signal.setitimer(signal.ITIMER_REAL, work.patience)
    try:
        grey = work.reader(path, work.max_pixels)
        film = work.preparation.apply(grey)
    except UnreadableFilm as error:
        return [error.reason, error.detail]
    except MemoryError:
        return ["unreadable", "not enough memory"]
    except cv2.error as error:
        return ["damaged", f"OpenCV's {error.func or 'function'} refuses it"]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    _write_all(shard, film.reshape(-1).data, offset)
    return [pixel_hash(film), *grey.shape]


def _write_all(file: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def _silence(*handles: int) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    for handle in handles:
        os.dup2(nothing, handle)
    os.close(nothing)


def _answer(answers: BinaryIO, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
