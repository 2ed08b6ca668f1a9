"""Film files decoded and prepared in the limited processes that `prepare` has, in the order given."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum.images.enhance import Preparation
from hilum.images.read import MAX_PIXELS, UnreadableFilm
from hilum.workflows.prepare.pool import Job, Outcome, Pool, Setup

READER = "hilum.images.npz:read_film"
PATIENCE = 60.0
"""Seconds after which decoding a film counts as hung, as in `prepare`."""
GROUP = 256
"""Films that are decoded before the first of them is returned."""
FILMS_A_PROCESS = 16
"""Fewer films are not worth starting another process."""


def decoded_films(
    preparation: Preparation, files: Sequence[Path], reader: str = READER
) -> Iterator[NDArray[np.uint8] | UnreadableFilm]:
    """Yield each file's prepared pixels, uint8 [size, size], or why it cannot be read.

    A film that kills or hangs its decoder fails alone: "decoder died", "decoder hung".

    Args:
        preparation: How films are prepared.
        files: Film files.
        reader: ``module:function`` from a path and a pixel limit to a grey film.
    """
    if not files:
        return
    film_bytes = preparation.size**2
    setup = Setup(Path(), reader, preparation.to_json(), MAX_PIXELS, PATIENCE)
    workers = min(len(os.sched_getaffinity(0)), -(-len(files) // FILMS_A_PROCESS))
    with tempfile.NamedTemporaryFile() as pixels, Pool(workers, setup) as pool:
        for begin in range(0, len(files), GROUP):
            paths = tuple(str(file) for file in files[begin : begin + GROUP])
            group, given = Job(begin, pixels.name, 0, 0, film_bytes, paths), 0

            def next_job(most: int, group: Job = group) -> Job | None:
                nonlocal given
                start, given = given, min(given + most, len(group.paths))
                return group.films(start, given) if start < given else None

            outcomes: dict[int, Outcome] = {}
            for job, done in pool.run(next_job):
                outcomes.update(enumerate(done, start=job.start))
            for index in range(len(paths)):
                outcome = outcomes[index]
                if outcome.pixels is None:
                    yield UnreadableFilm(outcome.reason, outcome.detail)
                else:
                    film = os.pread(pixels.fileno(), film_bytes, index * film_bytes)
                    yield np.frombuffer(film, np.uint8).reshape(preparation.size, preparation.size)
