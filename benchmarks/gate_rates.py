"""How often the service refuses films by their pixels: real ones as they are, turned, inverted, and no chest films.

    python benchmarks/gate_rates.py --data ../shared/data --store STORE [--json]

STORE is NIH ChestX-ray14 prepared and split as in docs/nih14.md: its ``test`` and ``official-test`` films are read from
their files. Most of their patients trained the film check (see film_check.md); a row of its own has the films
of patients whom it never saw, in that split and in all. Kermany: children, of its test folder. Drawn laterals say
nothing about real ones. Intervals: 95 %, Clopper and Pearson for the effective number of films of as many patients.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from film_check import rate
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.images.read import read_grey
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.serving.gate import by_header, by_pixels
from hilum.workflows.data.subsets import Subsets
from train_film_check import TEST, kermany_patient, real_films, tenth

SIDE = 64
PASSES = "passes"
Grey = NDArray[np.uint8]
Change = Callable[[Grey], Grey]
CHANGES: dict[str, Change] = {
    "as they are": np.asarray,
    "inverted": lambda film: 255 - film,
    "turned by 90": lambda film: np.rot90(film, 1),
    "turned by 180": lambda film: np.rot90(film, 2),
    "turned by 270": lambda film: np.rot90(film, 3),
}


def reason(film: Grey) -> str:
    """Return why a film is refused by its pixels, or that it passes."""
    return by_pixels(np.ascontiguousarray(film), Preparation(SIDE), SIDE) or PASSES


def counted(reasons: Iterable[str], patients: Iterable[str]) -> dict[str, Any]:
    """Return how many films are refused, with an interval, and why."""
    listed = list(reasons)
    refused = rate([why != PASSES for why in listed], list(patients))
    return {"refused": refused, "reasons": dict(Counter(listed).most_common())}


def nih(data: Path, store: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of the test films of a split, and of all patients whom the film check never saw."""
    films = Films.open([store])
    names = films.catalog["path"].map(lambda path: Path(path).name)
    subsets = Subsets.of(films)
    groups = {part: set(names.iloc[subsets.rows(part)]) for part in ("test", "official-test")}
    paths = [(patient, path) for name, patient, path in real_films(data) if name == "nih14"]
    unseen = {path.name for patient, path in paths if tenth("nih14", patient) in TEST}
    groups |= {
        f"{part}, patients new to the check": films & unseen for part, films in groups.items()
    }
    groups["all patients new to the check"] = unseen
    needed = set().union(*groups.values())
    read = [(patient, path.name, read_grey(path)) for patient, path in paths if path.name in needed]
    for change, change_film in CHANGES.items():
        reasons = [reason(change_film(film)) for _, _, film in read]
        for group, members in groups.items():
            rows = [
                (why, who)
                for why, (who, name, _) in zip(reasons, read, strict=True)
                if name in members
            ]
            yield f"NIH {group}: {change}", counted(*zip(*rows, strict=True))


def children(data: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of Kermany's test folder: patients whom the film check never saw."""
    paths = sorted((data / "kermany224" / "images" / "test").rglob("*.jpeg"))
    patients = [kermany_patient(path.stem) for path in paths]
    kept = [
        (who, read_grey(path))
        for who, path in zip(patients, paths, strict=True)
        if tenth("kermany224", who) in TEST
    ]
    for change, change_film in CHANGES.items():
        reasons = [reason(change_film(film)) for _, film in kept]
        yield f"children new to the check: {change}", counted(reasons, [who for who, _ in kept])


def drawn_laterals(count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of phantoms' laterals, by their pixels and by their DICOM headers."""
    with TemporaryDirectory() as folder:
        write_phantoms(Path(folder) / "jpeg", PhantomOptions(count, 128, 20261130))
        laterals = sorted((Path(folder) / "jpeg").rglob("*lateral*.jpg"))
        patients = [path.parts[-3] for path in laterals]
        yield (
            "drawn laterals, by pixels",
            counted([reason(read_grey(path)) for path in laterals], patients),
        )
        write_phantoms(Path(folder) / "dicom", PhantomOptions(count, 128, 20261130, format="dicom"))
        files = [path for path in sorted((Path(folder) / "dicom").rglob("*")) if path.is_file()]
        headers = [
            by_header(str(path), ()) or PASSES
            for path in files
            if path.read_bytes()[128:132] == b"DICM"
        ]
        yield (
            "drawn frontals and laterals, by header",
            {"reasons": dict(Counter(headers).most_common())},
        )


def no_films() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of noise and of plain greys."""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (128, 128), np.uint8) for _ in range(200)]
    soft = [
        np.kron(rng.integers(0, 256, (16, 16), np.uint8), np.ones((8, 8), np.uint8))
        for _ in range(200)
    ]
    ramp = np.tile(np.linspace(0, 255, 128).astype(np.uint8), (128, 1))
    plain = [np.full((128, 128), grey, np.uint8) for grey in (0, 128, 255)]
    for name, films in {
        "noise": noise,
        "noise in squares": soft,
        "ramps": [np.rot90(ramp, turn) for turn in range(4)],
        "one grey": plain,
    }.items():
        yield name, counted(map(reason, films), map(str, range(len(films))))


def dicom_files(data: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a row for each real DICOM file: a chest film and its negative, another, and a leg."""
    for path in sorted((data / "dicom").glob("*.dcm")):
        header = by_header(str(path), ()) or PASSES
        yield path.name, {"by header": header, "by pixels": reason(read_grey(path))}


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument(
        "--laterals", type=int, default=1000, help="phantoms that are drawn for laterals"
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    options = parser.parse_args()
    result = {}
    for rows in (
        dicom_files(options.data),
        no_films(),
        drawn_laterals(options.laterals),
        children(options.data),
        nih(options.data, options.store),
    ):
        for name, row in rows:
            result[name] = row
            print(f"{name}: {json.dumps(row)}", flush=True)
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
