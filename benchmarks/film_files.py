"""Which film files a benchmark of training runs on, and the store prepared from them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.catalog import Catalog, film_table
from hilum.findings import NIH14
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.images.store_writing import write_store
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.workflows.prepare.prepare import PrepareOptions, prepare

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "nih14" / "images"
PHANTOMS = 3000
PRESENT = 0.1


@dataclass(frozen=True)
class Files:
    """Film files below a folder, and in words what they are."""

    root: Path
    paths: Sequence[Path]
    words: str


def find_files(data: Path | None, size: int, scratch: Path) -> Files:
    """Return the films of ``data``, else the shared ones, else phantoms drawn into ``scratch``."""
    real = data or (SHARED if SHARED.is_dir() else None)
    root = real or draw_phantoms(scratch / "phantoms", size)
    paths = sorted(path for path in root.rglob("*") if path.suffix in (".png", ".jpg", ".jpeg"))
    if not paths:
        raise SystemExit(f"{root} holds no PNG or JPEG file")
    return Files(
        root,
        paths,
        f"{len(paths)} films of {real}" if real else f"{len(paths)} phantoms (no real films)",
    )


def noise_store(count: int, size: int, out: Path) -> tuple[Files, Films]:
    """Write a store of films of noise, for speeds that no film's content changes: no files, nothing to decode.

    Two films show one patient. Labels are drawn as those of ``make_store``.
    """
    rng = np.random.default_rng(0)
    rows = {
        "path": [f"{film}.png" for film in range(count)],
        "patient": [f"{film // 2}" for film in range(count)],
    }
    drawn = (rng.random((count, len(NIH14))) < PRESENT).astype(np.float32)
    labelled = film_table(pd.DataFrame(rows).join(pd.DataFrame(drawn, columns=list(NIH14))), NIH14)
    catalog = Catalog("noise", out, NIH14, labelled, count)
    pixels = rng.integers(0, 256, (count, size, size), dtype=np.uint8)
    write_store(out, catalog, pixels, Preparation(size))
    return Files(out, [], f"{count} films of noise"), Films.open([out])


def draw_phantoms(folder: Path, size: int) -> Path:
    """Draw phantoms and return the folder of those to train on."""
    write_phantoms(folder, PhantomOptions(PHANTOMS, max(size, 64)))
    return folder / "train"


def make_store(files: Files, size: int, cores: int, out: Path) -> tuple[Films, float]:
    """Prepare the files once and return the store's films with the seconds that it took.

    A name up to its first underscore stands for the patient, as in NIH's files. Labels are drawn at
    random, a tenth of them present: the online probe, which needs some, costs as much with them.
    """
    names = [path.relative_to(files.root).as_posix() for path in files.paths]
    rows = {"path": names, "patient": [name.split("_")[0] for name in names]}
    drawn = np.random.default_rng(0).random((len(names), len(NIH14))) < PRESENT
    labelled = pd.DataFrame(rows).join(pd.DataFrame(drawn.astype(np.float32), columns=list(NIH14)))
    catalog = Catalog("benchmark", files.root, NIH14, film_table(labelled, NIH14), len(names))
    began = time.perf_counter()
    prepare(catalog, out, PrepareOptions(size, workers=cores))
    return Films.open([out]), time.perf_counter() - began
