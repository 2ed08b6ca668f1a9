"""One file of at most 50 MiB for gpu_quality.sh: NIH ChestX-ray14's films as a prepared store, compressed without loss.

Films are prepared at 64 px and split by patient over both origins, as in docs/few-labels.md; all
of them are kept (13,502 films are 55 MB of pixels before the compression). The files of a store
follow each other in a tar archive, compressed by xz. Research use only, not a medical device.

Run: ``python benchmarks/gpu_data.py nih14-64.tar.xz [--data ../shared/data/nih14]``
"""

from __future__ import annotations

import argparse
import hashlib
import tarfile
import tempfile
from pathlib import Path

from film_files import SHARED
from hilum.images.films import Films
from hilum.sources import read_source
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.prepare.split import split
from hilum.workflows.prepare.split_options import SplitOptions

MOST = 50 * 2**20
"""Bytes of the file, at most."""


def pack(store: Path, out: Path) -> int:
    """Write a store's files into one archive and return its bytes.

    Raises:
        SystemExit: It is larger than MOST.
    """
    with tarfile.open(out, "w:xz", preset=6) as archive:
        for path in sorted(store.iterdir()):
            archive.add(path, f"store/{path.name}")
    if (size := out.stat().st_size) > MOST:
        out.unlink()
        raise SystemExit(f"the archive has {size:,} bytes, {MOST:,} are allowed: give fewer films")
    return size


def main() -> None:
    """Prepare, split, pack and print what the file holds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=SHARED.parent, help="folder of ChestX-ray14")
    parser.add_argument("--source", default="nih14")
    parser.add_argument("--size", type=int, default=64)
    chosen = parser.parse_args()
    if not chosen.data.is_dir():
        raise SystemExit(f"{chosen.data} is not there: give --data FOLDER")
    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch) / "store"
        prepare(read_source(chosen.source, chosen.data), store, PrepareOptions(chosen.size))
        split(store, SplitOptions())
        films = Films.open([store])
        size = pack(store, chosen.out)
    digest = hashlib.sha256(chosen.out.read_bytes()).hexdigest()
    print(f"{chosen.out}: {len(films)} films at {chosen.size} px, {size:,} bytes, SHA-256 {digest}")


if __name__ == "__main__":
    main()
