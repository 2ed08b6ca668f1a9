"""Which damaged JPEGs are refused, and which sound ones: seeded mutants of real films.

Usage: python benchmarks/damaged_jpegs.py FOLDER [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from pathlib import Path

from hilum.images.read import UnreadableFilm, decode_grey

SOUND, MUTANTS = 1304, 137


def mutant(data: bytes, kind: str, rng: random.Random) -> bytes:
    """Return a JPEG with damage behind the header of its first scan."""
    begin, end = data.index(b"\xff\xda") + 14, len(data) - 200
    at, damaged = rng.randrange(begin, end), bytearray(data)
    if kind == "bit":
        damaged[at] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del damaged[at:]
    elif kind == "dropped":
        del damaged[at : at + rng.randrange(1, 150)]
    else:
        damaged[at : at + 100] = rng.randbytes(100)
    return bytes(damaged)


def outcome(data: bytes) -> str:
    """Return why a film is refused, or "read"."""
    try:
        decode_grey(data)
    except UnreadableFilm as error:
        return error.reason
    return "read"


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    files = sorted(arguments.folder.rglob("*.jpeg"))
    if not files:
        print(f"skipped: no JPEG in {arguments.folder}")
        sys.exit(0)
    rng = random.Random(0)
    chosen = [file.read_bytes() for file in rng.sample(files, min(SOUND, len(files)))]
    result: dict[str, dict[str, int]] = {"sound": Counter(map(outcome, chosen))}
    kinds = ("bit", "cut", "dropped", "random")
    for number in range(MUTANTS):
        kind = kinds[number % len(kinds)]
        counts = result.setdefault(kind, Counter())
        counts[outcome(mutant(rng.choice(chosen), kind, rng))] += 1
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        for kind, counts in result.items():
            print(kind, dict(counts))


if __name__ == "__main__":
    main()
