"""What every test shares: real data where it lies beside the checkout, and one thread a worker."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hilum.files import HASH_LINE, OWN_HASH, canonical_json
from hilum.metrics.operating import RULES

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# No test measures time: a busy machine must not fail one.
settings.register_profile("hilum", deadline=None)
settings.load_profile("hilum")

sys.path.insert(0, str(Path(__file__).parent))  # for exports.py

# A shell lets what it starts in the background ignore Ctrl-C, and child processes inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(
    os.environ.get("HILUM_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real radiographs, or a skip that says so."""
    if not SHARED.is_dir():
        pytest.skip("no real radiographs beside the checkout (../shared/data, or HILUM_TEST_DATA)")
    return SHARED


@pytest.fixture
def export(tmp_path: Path) -> Any:
    """Write DICOM films of a few pixels into an empty tree; see ``exports.Export``."""
    from exports import Export

    (tmp_path / "tree").mkdir()
    return Export(tmp_path / "tree")


@pytest.fixture(scope="session")
def make_store() -> Callable[..., Path]:
    """Write a small store with a split: grey noise, and a bright square for each of two findings."""
    import numpy as np
    import pandas as pd

    from hilum.catalog import Catalog, film_table
    from hilum.images.enhance import Preparation
    from hilum.images.store_writing import write_store
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


@pytest.fixture(scope="session")
def forget_hashes() -> Callable[[Path], None]:
    """Takes the hashes out of what a folder holds, which then is as version 0.1.0 wrote it and may be changed."""
    return _forget_hashes


def _forget_hashes(folder: Path) -> None:
    for path in folder.rglob("*.json"):
        content = json.loads(path.read_bytes())
        if path.name not in ("manifest.json", "split.json") and content.pop(OWN_HASH, None):
            content.pop("files", None)
            path.write_bytes(canonical_json(content))
    for path in folder.rglob("model/manifest.json"):
        path.unlink()
    for path in (*folder.rglob("options.yaml"), *folder.rglob("study.yaml")):
        path.write_text(path.read_text("utf-8").partition(HASH_LINE)[0], "utf-8")


@pytest.fixture(scope="session")
def give_thresholds() -> Callable[[Path], None]:
    """Lets a run's model call its findings, as earlier versions did whatever it had learnt."""
    return _give_thresholds


def _give_thresholds(run: Path) -> None:
    """Let a run's model call its findings, as models of earlier versions did whatever they had learnt."""
    path = run / "model" / "model.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    for finding, reason in described.pop("not_called").items():
        if "cannot be computed" not in reason:  # both classes are among the validation films
            cuts = dict(zip(RULES, (0.5, 0.4, 0.6), strict=True))
            described["operating_points"][finding] = cuts
            described["thresholds"][finding] = cuts[RULES[0]]
    described["learnt"] = None
    path.write_bytes(canonical_json(described))
    (path.parent / "manifest.json").unlink(missing_ok=True)  # as in models of 0.1.0


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of two findings, of which Edema is called above 0.25."""
    import pandas as pd
    import torch

    from hilum.bundle.initialization import new_backbone
    from hilum.bundle.model_folder import Description, Model, save_model
    from hilum.images.enhance import Preparation

    torch.manual_seed(0)
    backbone = new_backbone("test_resnet", 64, 0)
    description = Description(
        backbone="test_resnet",
        size=64,
        preparation=Preparation(64).to_json(),
        method="supervised",
        findings=("Edema", "Mass"),
        thresholds={"Edema": 0.25, "Mass": None},
        not_called={"Mass": "validation AUROC 0.52 (0.41 to 0.63) is not shown to be above 0.5"},
    )
    head = torch.nn.Linear(backbone.out_features, 2)
    seen = pd.DataFrame({"name": pd.array([], "string"), "pixels": pd.array([], "string")})
    folder = tmp_path_factory.mktemp("served") / "model"
    save_model(folder, Model(description, backbone, head, seen))
    return folder


@pytest.fixture(scope="session")
def films() -> list[Any]:
    """Frontal phantoms, uint8 [128, 128]."""
    from hilum.phantoms.cohort import cohort
    from hilum.phantoms.film import draw
    from hilum.phantoms.options import PhantomOptions

    drawn = cohort(PhantomOptions(count=12, size=128))
    return [draw(film, 128, 0)[0] for film in drawn if film.position != "LATERAL"][:6]
