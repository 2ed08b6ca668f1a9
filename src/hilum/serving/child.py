"""The service's decoding process: a film out of one memory file, what the network takes into another.

It is started as ``python -m hilum.serving.child`` by `hilum.serving.decoders` and answers in JSON
lines. Films are in files of the memory (memfd) that both processes hold: none has a name or
reaches a disk. A film that crashes, hangs or fills the process ends this process and no other.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from hilum.images.containers import JPEG_MAGIC, PNG_MAGIC
from hilum.images.decoding.worker import limit_memory
from hilum.images.dicom.sniff import HEAD_BYTES, is_dicom
from hilum.images.enhance import Preparation
from hilum.images.film_check import film_flags
from hilum.images.read import NO_MEMORY, UnreadableFilm, decode_grey, read_grey
from hilum.serving.gate import by_header, by_pixels

PREPARED, PICTURE = "prepared", "picture"
"""What is asked of a film: what the network takes, or the film as it is read, as PNG."""
BEHIND = 5
"""How far the kernel puts this process behind the network and HTTP: films leave before others are begun, so that
there is always work for every core while films wait to be decoded."""
LARGEST_PICTURE = 2048
"""Pixels of the longer side of a picture; larger films are made smaller."""


class Setup(NamedTuple):
    """What stays the same from film to film."""

    preparation: Preparation
    network_size: int
    keep: tuple[str, ...]
    max_pixels: int
    patience: float
    memory: int
    source: int
    """Descriptor of the memory file with the film as it was sent."""
    target: int
    """Descriptor of the memory file for the result."""


def main() -> None:
    """Read films as standard input asks, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.nice(BEHIND)
    cv2.setNumThreads(1)
    answers = os.fdopen(os.dup(1), "wb")
    sent = json.loads(sys.stdin.buffer.readline())
    sent["preparation"] = Preparation.from_json(sent["preparation"])
    setup = Setup(**sent)
    nothing = os.open(os.devnull, os.O_WRONLY)  # what decoders print may quote a file
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)
    film_flags([np.zeros((64, 64), np.uint8)])
    _answer(answers, {"ready": True})
    import hilum.images.dicom.film  # noqa: F401 - pydicom: now, and not at the first DICOM film

    limit_memory(setup.memory)
    for line in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_REAL, setup.patience)
        answer = _film(json.loads(line), setup)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _answer(answers, answer)


def _film(form: str, setup: Setup) -> dict[str, Any]:
    """Write the result into the target; return what is known of the film, or why it has no result."""
    path = Path(f"/proc/self/fd/{setup.source}")
    try:
        kind = film_kind(os.pread(setup.source, HEAD_BYTES, 0))
        notes: list[str] = []
        refused = by_header(str(path), setup.keep) if kind == "dicom" and form == PREPARED else ""
        if refused:
            return {"kind": kind, "size": None, "refused": refused}
        if kind == "dicom":
            grey = read_grey(path, setup.max_pixels, setup.preparation.dicom, notes)
        else:
            data = os.pread(setup.source, os.fstat(setup.source).st_size, 0)
            grey = decode_grey(data, setup.max_pixels)
        about = {"kind": kind, "size": list(grey.shape), "notes": notes}
        if form == PICTURE:
            return {**about, "bytes": _write(setup.target, _picture(grey))}
        refused = by_pixels(grey, setup.preparation, setup.network_size)
        if refused:
            return {**about, "refused": refused}
        return {**about, "bytes": _write(setup.target, setup.preparation.apply(grey).tobytes())}
    except UnreadableFilm as error:
        return {"unreadable": error.reason, "detail": error.detail}
    except (MemoryError, cv2.error) as error:
        if isinstance(error, cv2.error) and error.code != NO_MEMORY:
            return {"unreadable": "damaged", "detail": "the decoder refuses it"}
        return {
            "unreadable": "too large",
            "detail": f"needs more than {setup.memory >> 20} MB of memory",
        }


def film_kind(head: bytes) -> str:
    """Return png, jpeg or dicom by a file's first bytes, or nothing."""
    if head.startswith(PNG_MAGIC):
        return "png"
    if head.startswith(JPEG_MAGIC):
        return "jpeg"
    return "dicom" if is_dicom(head[:HEAD_BYTES]) else ""


def _picture(grey: np.ndarray) -> bytes:
    """Return a grey film as PNG, at most LARGEST_PICTURE pixels high and wide."""
    factor = LARGEST_PICTURE / max(grey.shape)
    if factor < 1:
        grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return data.tobytes()


def _write(target: int, data: bytes) -> int:
    """Write the result; return its length."""
    left, offset = memoryview(data), 0
    while left:
        written = os.pwrite(target, left, offset)
        left, offset = left[written:], offset + written
    return len(data)


def _answer(answers: Any, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
