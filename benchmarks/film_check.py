"""How often the film check finds negatives and turned films, and how often it flags films that are neither.

Patients whom the network never saw (two tenths, by a hash of their names; see
`train_film_check.py`), each film as it is, as its negative, and turned by 90, 180 and 270 degrees in
both polarities. Films of sets that took no part in the training are named by ``--more``. A film that
lies turned in the data set counts as a false alarm like all others; ``--list FILE`` writes the flagged ones.
Intervals: Clopper and Pearson for the effective number of films of as many patients.

Run: ``python benchmarks/film_check.py --json [--data ../shared/data] [--more FOLDER …]``; a few minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hilum.errors import DataError
from hilum.images.film_check import FLAGS, INVERTED, TURNS, film_flags, thumbnail
from hilum.images.read import read_grey
from hilum.images.store import Store
from hilum.metrics.proportions import share_right
from train_film_check import TEST, phantoms, real_films, stored_patient, tenth

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
DRAWN = 3000


def test_films(
    options: argparse.Namespace,
) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """Yield the set, the patient, the name and the pixels of every film of patients who were not trained on."""
    real = list(real_films(options.data))
    small = {patient for name, patient, _ in real if name == "nih14"}
    for name, patient, path in real:
        set_of_patient = "nih14" if patient in small else name
        if (name == "nih14-1024" and patient not in small) or tenth(
            set_of_patient, patient
        ) in TEST:
            yield name, patient, path.name, read_grey(path)
    for number, (patient, grey) in enumerate(
        phantoms(options.phantoms, 20261130)
    ):  # another seed: all are new
        yield "phantoms", patient, f"{patient} {number}", grey
    for folder in options.stores:
        store = Store.open(folder)
        for row, (patient, path) in enumerate(
            zip(*(store.catalog[c] for c in ("patient", "path")), strict=True)
        ):
            if tenth(store.source, stored_patient(store, patient)) in TEST:
                yield store.source, patient, path, store.read(np.array([row]))[0]
    for folder in options.more:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
                try:
                    yield folder.name, path.stem, path.name, read_grey(path)
                except DataError as error:
                    print(f"{path.name}: {error}", file=sys.stderr)


def shown(grey: np.ndarray) -> list[np.ndarray]:
    """Return a film's thumbnail in each state of FLAGS; the film itself is turned and inverted, not the thumbnail."""
    films = (np.rot90(film, turn) for film in (grey, 255 - grey) for turn in range(len(TURNS)))
    return [thumbnail(np.ascontiguousarray(film)) for film in films]


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
    parser.add_argument("--phantoms", type=int, default=DRAWN)
    parser.add_argument("--list", type=Path, help="write the names of false alarms to this file")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    options = parser.parse_args()
    thumbnails: dict[str, list[np.ndarray]] = {}
    patients: dict[str, list[str]] = {}
    names: dict[str, list[str]] = {}
    for part, patient, name, grey in test_films(options):
        thumbnails.setdefault(part, []).extend(shown(grey))
        patients.setdefault(part, []).append(patient)
        names.setdefault(part, []).append(name)
    result: dict[str, Any] = {}
    alarms: list[str] = []
    for part, small in thumbnails.items():
        flags = np.array(film_flags(small)).reshape(-1, len(FLAGS))
        who = patients[part]
        result[part] = {
            "false_alarms": rate((flags[:, 0] != "").tolist(), who),
            "negatives_found": rate([flag.startswith(INVERTED) for flag in flags[:, 4]], who),
            **{
                f"turned_{90 * turn}_found": rate((flags[:, turn] == TURNS[turn]).tolist(), who)
                for turn in range(1, len(TURNS))
            },
            "negatives_in_any_turn_found": rate(
                np.char.startswith(flags[:, 4:], INVERTED).all(1).tolist(), who
            ),
        }
        alarms += [
            f"{part}\t{name}\t{flag}"
            for name, flag in zip(names[part], flags[:, 0], strict=True)
            if flag
        ]
        print(part, json.dumps(result[part], indent=1), file=sys.stderr)
    if options.list:
        options.list.write_text("\n".join(alarms) + "\n", "utf-8")
    print(json.dumps(result) if options.json else "done: see above")


if __name__ == "__main__":
    main()
