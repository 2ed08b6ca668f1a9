"""A store's fingerprint in its manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from hilum.catalog import Catalog, film_table
from hilum.images.enhance import Preparation
from hilum.images.store import Store
from hilum.images.store_writing import write_store


def test_the_manifests_fingerprint_is_that_of_the_table(tmp_path: Path) -> None:
    rows = pd.DataFrame({"path": ["a.png", "b.png"], "patient": ["p", "q"], "Edema": [1.0, np.nan]})
    catalog = Catalog("folder", tmp_path, ("Edema",), film_table(rows, ("Edema",)), 2)
    films = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8)
    written = write_store(tmp_path / "store", catalog, films, Preparation(8))

    store = Store.open(tmp_path / "store")
    earlier = Store(store.folder, {**store.manifest}, store.table)  # as 0.1.0 wrote manifests
    del earlier.manifest["fingerprint"]

    assert store.manifest["fingerprint"] == written.fingerprint == store.fingerprint
    assert store.computed_fingerprint() == earlier.fingerprint == store.fingerprint
