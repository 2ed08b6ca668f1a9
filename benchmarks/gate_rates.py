"""How often the service refuses films by their pixels: real ones as they are, turned, inverted, and no chest films.

    python benchmarks/gate_rates.py --data ../shared/data

Counts by reason. NIH ChestX-ray14: the films of its official test list that are in the folder; the
film check was trained on other patients of the set (see film_check.md), so these tell how it does
on films of that hospital, not of another. Kermany: children.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from hilum.images.enhance import Preparation
from hilum.images.read import read_grey
from hilum.serving.gate import by_header, by_pixels

SIDE = 64
MOST = 400
"""Films of Kermany's test set that are read."""


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    root = parser.parse_args().data
    names = (root / "nih14" / "test_list.txt").read_text("ascii").split()
    nih = [root / "nih14" / "images" / name for name in names]
    nih = [path for path in nih if path.is_file()]
    children = sorted((root / "kermany224" / "images" / "test").rglob("*.jpeg"))[:MOST]
    for name, paths in (("NIH official test", nih), ("Kermany test", children)):
        films = [read_grey(path) for path in paths]
        patients = len({path.name.rpartition("_")[0] for path in paths})
        print(f"{name}: {len(films)} films of {patients} patients by their names")
        count("as they are", films)
        count("inverted", films, lambda film: 255 - film)
        for quarter in (1, 2, 3):
            count(f"turned by {90 * quarter}", films, lambda film, q=quarter: np.rot90(film, q))
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (128, 128), np.uint8) for _ in range(200)]
    smooth = [np.tile(np.linspace(0, 255, 128).astype(np.uint8), (128, 1))]
    count("noise", noise)
    count("a ramp of grey", smooth)
    for path in sorted((root / "dicom").rglob("*")):
        if path.is_file() and path.suffix.lower() in ("", ".dcm"):
            film = read_grey(path)
            reasons = by_header(str(path), ()) or "passes", reason(film) or "passes"
            print(f"  {path.name}: by its header {reasons[0]}, by its pixels {reasons[1]}")


def reason(film: np.ndarray) -> str:
    """Return why a film is refused by its pixels, or nothing."""
    return by_pixels(np.ascontiguousarray(film), Preparation(SIDE), SIDE)


def count(
    name: str, films: Iterable[np.ndarray], change: Callable[[np.ndarray], np.ndarray] = np.asarray
) -> None:
    """Print how many films are refused, by reason."""
    reasons = Counter(reason(change(film)) or "passes" for film in films)
    print(f"  {name}: {json.dumps(dict(reasons.most_common()))}")


if __name__ == "__main__":
    main()
