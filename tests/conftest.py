"""What every test shares: real data where it lies beside the checkout, and one thread a worker."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# No test measures time: a busy machine must not fail one.
settings.register_profile("hilum", deadline=None)
settings.load_profile("hilum")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real radiographs, or a skip that says so."""
    if not SHARED.is_dir():
        pytest.skip("no real radiographs beside the checkout (../shared/data)")
    return SHARED


@pytest.fixture(scope="session")
def make_store() -> Callable[..., Path]:
    """Write a small store with a split: grey noise, and a bright square for each of two findings."""
    import numpy as np
    import pandas as pd

    from hilum.catalog import Catalog, film_table
    from hilum.images.enhance import Preparation
    from hilum.images.store import write_store
    from hilum.splits import patient_split

    def make(folder: Path, films: int = 96, size: int = 32, seed: int = 0) -> Path:
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, (films, 2)).astype(np.float32)
        images = rng.integers(0, 60, (films, size, size))
        for place, column in ((size // 8, 0), (size * 5 // 8, 1)):
            images[:, place : place + size // 4, place : place + size // 4] += (
                80 * labels[:, column, None, None]
            ).astype(int)
        rows = {
            "path": [f"{number}.png" for number in range(films)],
            "patient": [f"p{number // 2}" for number in range(films)],
            "study": [f"s{number // 2}" for number in range(films)],
            "Edema": labels[:, 0],
            "Mass": labels[:, 1],
        }
        findings = ("Edema", "Mass")
        catalog = Catalog(
            "tiny", Path("/nowhere"), findings, film_table(pd.DataFrame(rows), findings), films
        )
        store = write_store(folder, catalog, images.astype(np.uint8), Preparation(size))
        patient_split(store.catalog, store.findings, 0, test=0.2, val=0.25).save(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_store(make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 films of 48 patients, 32 px, 52 of them to train on."""
    return make_store(tmp_path_factory.mktemp("store") / "tiny")
