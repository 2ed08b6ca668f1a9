"""The header-reading process: JSON lines of paths in, JSON lines of headers out, within limits of memory and time.

It is started as ``python -m hilum.sources.archive.header_worker``. What pydicom or the system says
of a file is never passed on: it may quote the file.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from hilum.images.dicom.header import read_header
from hilum.images.unreadable import UnreadableFilm
from hilum.sources.archive.entering import DAMAGED, DICOMDIR, NO_DICOM
from hilum.sources.archive.header_lines import plain

MEMORY = 2**29
"""Bytes that a header may take: one that is packed may unfold to any size."""
PATIENCE = 10.0
"""Seconds that a header may take."""


def main() -> None:
    """Answer lines from standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)
    _limit_memory()
    answers.write(b"[]\n")  # ready
    answers.flush()
    for line in sys.stdin.buffer:
        answers.write(
            json.dumps([_header(Path(path)) for path in json.loads(line)]).encode() + b"\n"
        )
        answers.flush()


def _limit_memory() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _header(path: Path) -> list[Any] | str:
    """Return a header as plain values, or the reason why there is none."""
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        header = read_header(path)
    except UnreadableFilm as error:
        return NO_DICOM if error.reason.startswith("not a") or error.reason == "empty" else DAMAGED
    except MemoryError:
        return DAMAGED
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return DICOMDIR if path.name.upper() == "DICOMDIR" and not header.has_pixels else plain(header)


if __name__ == "__main__":
    main()
