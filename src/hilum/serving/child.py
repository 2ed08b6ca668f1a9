"""The service's decoding processes, and the fork server that they are forked from.

`hilum.serving.fork_server` starts it as ``python -m hilum.serving.child SOCKET``. It imports and
warms up once, then forks a decoding process whenever one is asked for: a few milliseconds, where a
fresh interpreter takes 0.4 s. Forking is sound since it never has a second thread. A decoding process
reads a film out of one memory file (memfd), writes what the network takes into another, and answers
in JSON; no film has a name or reaches a disk. A film that crashes, hangs or fills the process
ends this process and no other.

`hilum.images.decoding.worker` decodes whole jobs of named files into shards, for a caller that has
threads and tries a lost film again; the two share the limits, not the form.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
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
FORK = b"fork"
"""The message, with three descriptors, that asks for a process; any other is the number of one to kill."""
MESSAGE_BYTES = 2**16
"""Longest message on any of the sockets."""
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


class MemoryFiles(NamedTuple):
    """Descriptors of the two files that a decoding process shares with the service."""

    source: int
    """Holds the film as it was sent."""
    target: int
    """Takes the result."""


def main() -> None:
    """Fork decoding processes as the control socket asks and report how each ended, until the service is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    cv2.setNumThreads(1)
    control = socket.socket(fileno=int(sys.argv[1]))
    sent = json.loads(control.recv(MESSAGE_BYTES))
    sent["preparation"] = Preparation.from_json(sent["preparation"])
    setup = Setup(**sent)
    film_flags([np.zeros((64, 64), np.uint8)])
    # What else a film may need: now, and not at the first film of each process.
    import hilum.images.dicom.film
    import hilum.sources.archive.entering
    import hilum.sources.archive.film_view  # noqa: F401

    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - a count
    if threads > 1:  # a lock that one of them holds would stay locked in every child
        raise RuntimeError(f"{threads} threads run in the process that is to be forked")
    nothing = os.open(os.devnull, os.O_WRONLY)  # what decoders print may quote a file
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)
    limit_memory(setup.memory)
    gc.freeze()  # no collection in a child touches, and so copies, the pages that are shared
    running: dict[int, int] = {}  # pidfd -> number of a decoding process
    waiting = select.poll()
    waiting.register(control, select.POLLIN)
    while True:
        for handle, _ in waiting.poll():
            if handle != control.fileno():
                waiting.unregister(handle)
                os.close(handle)
                number, status = os.waitpid(running.pop(handle), 0)
                _send(control, {"ended": number, "status": os.waitstatus_to_exitcode(status)})
                continue
            message, descriptors, *_ = socket.recv_fds(control, MESSAGE_BYTES, 3)
            if not message:  # the service is gone, however it ended
                os.killpg(0, signal.SIGKILL)
            if message != FORK:
                if int(message) in running.values():
                    os.kill(int(message), signal.SIGKILL)
                continue
            number = _forked(control, descriptors, setup)
            if number:
                pidfd = os.pidfd_open(number)
                running[pidfd] = number
                waiting.register(pidfd, select.POLLIN)
            _send(control, {"forked": number})


def _send(to: socket.socket, value: dict[str, Any]) -> None:
    """Send one message; the sockets keep messages apart."""
    to.send(json.dumps(value).encode())


def _forked(control: socket.socket, descriptors: list[int], setup: Setup) -> int:
    """Return the number of a new decoding process; 0 where the system gives none."""
    channel, *files = descriptors
    try:
        number = os.fork()
    except OSError:  # no memory, or no more processes allowed
        number = 0
    else:
        if number == 0:
            try:
                control.close()
                _read_films(socket.socket(fileno=channel), setup, MemoryFiles(*files))
            finally:
                os._exit(1)
    for descriptor in descriptors:
        os.close(descriptor)
    return number


def _read_films(channel: socket.socket, setup: Setup, files: MemoryFiles) -> None:
    """Read films as the channel asks, until it ends."""
    while form := channel.recv(MESSAGE_BYTES):
        signal.setitimer(signal.ITIMER_REAL, setup.patience)
        answer = _film(form.decode(), setup, files)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(channel, answer)


def _film(form: str, setup: Setup, files: MemoryFiles) -> dict[str, Any]:
    """Write the result into the target; return what is known of the film, or why it has no result."""
    path = Path(f"/proc/self/fd/{files.source}")
    try:
        kind = film_kind(os.pread(files.source, HEAD_BYTES, 0))
        notes: list[str] = []
        refused = by_header(str(path), setup.keep) if kind == "dicom" and form == PREPARED else ""
        if refused:
            return {"kind": kind, "size": None, "refused": refused}
        if kind == "dicom":
            grey = read_grey(path, setup.max_pixels, setup.preparation.dicom, notes)
        else:
            data = os.pread(files.source, os.fstat(files.source).st_size, 0)
            grey = decode_grey(data, setup.max_pixels)
        about = {"kind": kind, "size": list(grey.shape), "notes": notes}
        if form == PICTURE:
            return {**about, "bytes": _write(files.target, _picture(grey))}
        refused = by_pixels(grey, setup.preparation, setup.network_size)
        if refused:
            return {**about, "refused": refused}
        return {**about, "bytes": _write(files.target, setup.preparation.apply(grey).tobytes())}
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


if __name__ == "__main__":
    main()
