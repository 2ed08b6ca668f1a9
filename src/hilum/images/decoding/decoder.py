"""Film files decoded and prepared in the limited processes that `prepare` has, in the order given."""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum.errors import DataError
from hilum.images.decoding.pool import Job, Outcome, Pool, Setup
from hilum.images.decoding.worker import MEMORY
from hilum.images.enhance import Preparation
from hilum.images.film_check import LATERAL
from hilum.images.read import MAX_PIXELS, UnreadableFilm

READER = "hilum.images.npz:read_film"
PATIENCE = 60.0
"""Seconds after which decoding a film counts as hung, as in `prepare`."""
GROUP = 256
"""Films that are decoded before the first of them is returned."""
FILMS_A_PROCESS = 16
"""Fewer films are not worth starting another process."""


class DecodedFilm(NamedTuple):
    """A film's prepared pixels, and the height and width of its file's."""

    image: NDArray[np.uint8]
    """[size, size]"""
    size: tuple[int, int]
    flag: str = ""
    """What the film looks like: an entry of `hilum.images.film_check.FLAGS`, its STRANGE or its LATERAL."""


class Decoder:
    """Decodes film files in processes of its own, which stay for the next call.

    They end with this object or with the interpreter. Threads may share it; a forked or unpickled
    copy starts its own. A film that kills or hangs its decoder fails alone.
    """

    def __init__(
        self,
        preparation: Preparation,
        reader: str = READER,
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Start nothing yet.

        Args:
            preparation: How films are prepared.
            reader: ``module:function`` from a path and a pixel limit to a grey film.
            options: The reader's own, by name; plain values.
        """
        self._preparation, self._reader, self._options = preparation, reader, dict(options)
        self._processes = _Processes(
            Setup(
                Path(), reader, preparation.to_json(), MAX_PIXELS, PATIENCE, MEMORY, self._options
            )
        )
        self._end = weakref.finalize(self, self._processes.end)

    def __reduce__(self) -> tuple[type[Decoder], tuple[Preparation, str, dict[str, Any]]]:
        """Leave the processes out of copies."""
        return type(self), (self._preparation, self._reader, self._options)

    def __enter__(self) -> Decoder:
        """Return the decoder."""
        return self

    def __exit__(self, *_: object) -> None:
        """End its processes."""
        self._processes.end()

    def films(self, files: Sequence[Path]) -> Iterator[DecodedFilm | UnreadableFilm]:
        """Yield each file's prepared film, or why it cannot be read.

        Raises:
            DataError: No process can be started, or there is no room for the decoded films.
        """
        if not files:
            return
        size = self._preparation.size
        with tempfile.NamedTemporaryFile() as pixels:
            for begin in range(0, len(files), GROUP):
                paths = tuple(str(file) for file in files[begin : begin + GROUP])
                group = Job(begin, pixels.name, 0, 0, size**2, paths)
                for index, outcome in enumerate(self._processes.outcomes(group, len(files))):
                    if outcome.size is None:
                        yield UnreadableFilm(outcome.reason, outcome.detail)
                        continue
                    film = os.pread(pixels.fileno(), size**2, index * size**2)
                    image = np.frombuffer(film, np.uint8).reshape(size, size)
                    lateral = LATERAL if LATERAL in outcome.notes else ""
                    yield DecodedFilm(image, outcome.size, outcome.flag or lateral)


class _Processes:
    """The pool behind a decoder, made when needed; a forked copy does not touch its parent's."""

    def __init__(self, setup: Setup) -> None:
        self._setup, self._lock = setup, threading.Lock()
        self._pool: Pool | None = None
        self._owner = 0

    def outcomes(self, group: Job, films: int) -> list[Outcome]:
        """Decode a group of films into its file; ``films`` are as many as will come in all."""
        given, outcomes = 0, dict[int, Outcome]()

        def next_job(most: int) -> Job | None:
            nonlocal given
            start, given = given, min(given + most, len(group.paths))
            return group.films(start, given) if start < given else None

        workers = min(len(os.sched_getaffinity(0)), -(-films // FILMS_A_PROCESS))
        with self._lock:
            if self._pool is None or self._owner != os.getpid():
                self._pool, self._owner = Pool(0, self._setup), os.getpid()
            try:
                self._pool.start(workers)
                for job, done in self._pool.run(next_job):
                    outcomes.update(enumerate(done, start=job.start))
            except OSError as error:
                self.end()
                raise DataError(
                    f"decoded films cannot be kept in {tempfile.gettempdir()} ({error.strerror}): make room "
                    "there, or name another folder in the variable TMPDIR."
                ) from error
            except BaseException:
                self.end()  # with the jobs that were not done
                raise
        return [outcomes[index] for index in range(len(group.paths))]

    def end(self) -> None:
        """End the processes, if they are this process's."""
        pool, self._pool = self._pool, None
        if pool is not None and self._owner == os.getpid():
            pool.end()
