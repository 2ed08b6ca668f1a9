"""How often the film check finds negatives and turned films, and how often it flags films that are neither.

Patients whom the network never saw (two tenths, by a hash of their names; see
`train_film_check.py`), each film as it is, as its negative, and turned by 90, 180 and 270 degrees.
Phantoms are drawn anew, one film a patient, since films of one are not independent. Films of sets that took no part
in the training are named by ``--more``. A film that lies turned in the data set counts as a false alarm like all
others; ``--list FILE`` writes the flagged ones.
Intervals: Clopper and Pearson for the effective number of films of as many patients.

Run: ``python benchmarks/film_check.py --json [--data ../shared/data] [--more FOLDER …]``; ten minutes of two cores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from hilum.errors import DataError
from hilum.images.film_check import INVERTED, TURNS, film_flags, thumbnail
from hilum.images.read import read_grey
from hilum.images.store import Store
from hilum.metrics.proportions import share_right
from hilum.phantoms.cohort import Film, cohort
from hilum.phantoms.film import draw
from hilum.phantoms.options import PhantomOptions
from train_film_check import KEPT, TEST, real_films, stored_patient, tenth

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SEED = 20261130
"""Of the phantoms; the network was trained on those of another."""


class Checked(NamedTuple):
    """A film to be checked, and where its pixels are: a file, a phantom to draw, or a row of a store."""

    part: str
    patient: str
    name: str
    source: Path | Film | tuple[Path, int]

    def pixels(self) -> np.ndarray:
        """Return it as grey, uint8 [H, W]."""
        if isinstance(self.source, Path):
            return read_grey(self.source)
        if isinstance(self.source, Film):
            return draw(self.source, KEPT, SEED)[0]
        folder, row = self.source
        return np.asarray(Store.open(folder).read(np.array([row]))[0])


def test_films(options: argparse.Namespace) -> Iterator[Checked]:
    """Yield every film of patients who were not trained on, set by set."""
    real = list(real_films(options.data))
    small = {patient for name, patient, _ in real if name == "nih14"}
    for name, patient, path in real:
        set_of_patient = "nih14" if patient in small else name
        if (name == "nih14-1024" and patient not in small) or tenth(
            set_of_patient, patient
        ) in TEST:
            yield Checked(name, patient, path.name, path)
    films = cohort(PhantomOptions(4 * options.phantoms, KEPT, SEED))
    for number, (patient, own) in enumerate(groupby(films, lambda film: film.patient)):
        if number < options.phantoms:
            of_patient = list(own)
            film = of_patient[number % len(of_patient)]
            yield Checked("phantoms", str(patient), f"{patient} {film.study} {film.view}", film)
    for folder in options.stores:
        store = Store.open(folder)
        for row, (patient, path) in enumerate(
            zip(*(store.catalog[c] for c in ("patient", "path")), strict=True)
        ):
            if tenth(store.source, stored_patient(store, patient)) in TEST:
                yield Checked(store.source, patient, path, (folder, row))
    for folder in options.more:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
                yield Checked(folder.name, path.stem, path.name, path)


def flags_of(film: Checked) -> list[str] | None:
    """Return what a film looks like as it is, in three turns and as its negative.

    The film itself is turned and inverted, not the thumbnail.
    """
    try:
        grey = film.pixels()
    except DataError as error:
        print(f"{film.name}: {error}", file=sys.stderr)
        return None
    turned = [np.rot90(grey, turn) for turn in range(len(TURNS))]
    return film_flags([thumbnail(np.ascontiguousarray(of)) for of in (*turned, 255 - grey)])


def rate(right: list[bool], patients: list[str]) -> dict[str, Any]:
    """Return a share with its interval and counts."""
    codes = np.unique(patients, return_inverse=True)[1]
    found = share_right(np.array(right), codes)
    assert found.interval is not None
    return {
        "rate": round(found.value, 5),
        "interval": [round(end, 5) for end in found.interval],
        "count": int(np.sum(right)),
        "films": len(right),
        "patients": int(codes.max()) + 1,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--stores", type=Path, nargs="*", default=[], help="prepared stores")
    parser.add_argument("--more", type=Path, nargs="*", default=[], help="folders of other films")
    parser.add_argument("--phantoms", type=int, default=2000, help="patients of phantoms")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--list", type=Path, help="write the names of false alarms to this file")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    alarms: list[str] = []
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, spawned, cv2.setNumThreads, (1,)) as pool:
        for part, of_part in groupby(test_films(options), lambda film: film.part):
            films = list(of_part)
            seen = [
                (film, flags)
                for film, flags in zip(films, pool.map(flags_of, films, chunksize=16), strict=True)
                if flags is not None
            ]
            who = [film.patient for film, _ in seen]
            flags = np.array([flags for _, flags in seen])
            result[part] = {
                "false_alarms": rate((flags[:, 0] != "").tolist(), who),
                "negatives_found": rate([flag.startswith(INVERTED) for flag in flags[:, -1]], who),
                **{
                    f"turned_{90 * turn}_found": rate((flags[:, turn] == TURNS[turn]).tolist(), who)
                    for turn in range(1, len(TURNS))
                },
            }
            alarms += [f"{part}\t{film.name}\t{own[0]}" for film, own in seen if own[0]]
            print(part, json.dumps(result[part], indent=1), file=sys.stderr, flush=True)
    if options.list:
        options.list.write_text("\n".join(alarms) + "\n", "utf-8")
    print(json.dumps(result) if options.json else "done: see above")


if __name__ == "__main__":
    main()
