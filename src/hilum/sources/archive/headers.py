"""Headers of many DICOM files, read in parallel in processes that a bad file may kill."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from hilum.errors import DataError
from hilum.images.decoding.film_process import FilmProcess, film_process, give_back
from hilum.images.dicom.header import DicomHeader
from hilum.sources.archive.entering import DAMAGED
from hilum.sources.archive.header_lines import header_of

CHUNK = 64
"""Files that are sent at once."""
FEW = 200
"""Fewer files are not worth another process."""
READ = {"function": "hilum.sources.archive.header_lines:header_line", "patience": 10.0}
"""What a process is to do: a file that takes longer, in seconds, ends it."""
SECONDS_BETWEEN = 0.5
"""Seconds between two calls of a progress."""
Header = DicomHeader | str
"""A header, or why a file has none."""


def read_headers(
    root: Path,
    files: Sequence[str],
    progress: Callable[[int], None] = lambda _: None,
    workers: int | None = None,
) -> list[Header]:
    """Return each file's header, or the reason why it has none; pixels stay unread.

    A file that kills or hangs its process is damaged, and no other one is.

    Args:
        root: What the files lie below.
        files: Paths below it.
        progress: Called with the number of files done, now and then.
        workers: Processes; by default one a core, fewer for few files.

    Raises:
        DataError: The processes cannot be started.
    """
    chunks = [range(start, min(start + CHUNK, len(files))) for start in range(0, len(files), CHUNK)]
    headers: list[Header] = [DAMAGED] * len(files)
    waiting = iter(chunks)
    lock = threading.Lock()
    done = 0

    def work() -> None:
        nonlocal done
        with _Reader() as reader:
            while True:
                with lock:
                    chunk = next(waiting, None)
                if chunk is None:
                    return
                paths = [os.path.join(root, files[index]) for index in chunk]  # noqa: PTH118
                for index, header in zip(chunk, reader.read(paths), strict=True):
                    headers[index] = header
                with lock:
                    done += len(chunk)

    count = min(workers or len(os.sched_getaffinity(0)), -(-len(files) // FEW))
    with ThreadPoolExecutor(max(1, count)) as threads:
        try:
            reading = {threads.submit(work) for _ in range(count)}
            while reading:
                ended, reading = wait(reading, timeout=SECONDS_BETWEEN)
                for future in ended:
                    future.result()
                progress(done)
        except BaseException:
            waiting = iter(())  # the other threads end after their chunk
            raise
    return headers


class _Reader:
    """One process, started again where a file ended it."""

    def __init__(self) -> None:
        self._process = _started()

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            give_back(self._process)
        else:  # it may still have something to answer
            self._process.end()

    def read(self, paths: Sequence[str]) -> list[Header]:
        """Return the headers of these files; where the process dies they are sent one by one."""
        self._process.send({**READ, "paths": list(paths)})
        answer = self._process.output.readline()
        if answer.endswith(b"\n"):
            read = json.loads(answer)
            return [one if isinstance(one, str) else header_of(one) for one in read]
        self._process.end()
        self._process = _started()
        if len(paths) == 1:
            return [DAMAGED]
        return [header for path in paths for header in self.read([path])]


def _started() -> FilmProcess:
    """Return a process that is ready.

    Raises:
        DataError: It ends at once.
    """
    process = film_process()
    process.send({**READ, "paths": []})
    if process.output.readline():
        return process
    how = process.exit_message()
    process.end()
    raise DataError(f"a process that reads headers {how}: is there memory for it?")
