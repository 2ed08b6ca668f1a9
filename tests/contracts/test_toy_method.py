"""A new method is one file and one line in its table: all else, from the help to the page, takes it from there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LINE = '    "toy": ("hilum.methods.toy:Toy", "A toy: predict from one crop what the network makes of the other"),\n'
METHOD = '''"""A toy after SimSiam (arXiv 2011.10566): predict from one crop what the network makes of the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hilum.augment.crops import CropRecipe, two_crops
from hilum.augment.presets import MOCO
from hilum.losses.byol import byol_loss
from hilum.nn.backbones import Backbone
from hilum.nn.heads import mlp
from hilum.training.learner import Batch, Learner


@dataclass(frozen=True, kw_only=True)
class ToyOptions:
    """The toy for a few films."""

    embedding_size: int = 32
    """Length of the vectors that the toy compares."""
    batch_norm: bool = True
    """Normalise the hidden layers over the batch of each process."""
    crops: CropRecipe = MOCO
    """The pipeline of both crops."""

    def for_films(self, count: int) -> ToyOptions:
        """Return the options as they are."""
        return self


class Toy(Learner):
    """One network with a predictor; see ToyOptions."""

    Options = ToyOptions

    def __init__(self, backbone: Backbone, options: ToyOptions, size: int) -> None:
        super().__init__(backbone)
        self.options, self.size = options, size
        features, embedding = backbone.out_features, options.embedding_size
        self.projector = mlp(features, features, embedding, batch_norm=options.batch_norm)
        self.predictor = mlp(embedding, embedding, embedding, batch_norm=options.batch_norm)

    def make_crops(self, batch: Batch, seed: int) -> tuple[Tensor, ...]:
        """Return two crops of each film."""
        return two_crops(batch.images, batch.index, self.options.crops, self.size, seed, batch.epoch)

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss (scalar)."""
        if batch.crops is None:
            raise ValueError("the batch has no crops")
        first, second = self.embed(torch.cat(batch.crops)).chunk(2)  # [B, E] each
        ahead = byol_loss(self.predictor(first), second.detach())
        return (ahead + byol_loss(self.predictor(second), first.detach())) / 2

    def embed(self, images: Tensor) -> Tensor:
        """Return the projections [B, E]."""
        embeddings: Tensor = self.projector(self.backbone(images))
        return embeddings

    def chance_loss(self, batch_size: int) -> float:
        """Return 2, the loss at right angles."""
        return 2.0
'''
CONFIG = """pretrain:
  backbone: test_resnet
  train: {epochs: 2, batch_size: 8, log_every: 1, accelerator: cpu}
  monitor: {probe_films: 0}
  toy:
    method: {embedding_size: 24}
  moco:
    method: {embedding_size: 48}
"""


@dataclass(frozen=True)
class House:
    """A copy of the package with the toy in it."""

    root: Path

    def run(self, *words: str) -> str:
        """Run ``python -m …`` on the copy, in its folder, and return what it prints."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST_", "COVERAGE_"))
        }
        ours = {
            "PYTHONPATH": str(self.root / "src"),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "COLUMNS": "120",
        }
        done = subprocess.run(
            [sys.executable, "-m", *words],
            capture_output=True,
            text=True,
            cwd=self.root,
            env={**kept, **ours},
            timeout=300,
        )
        assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, make_store: Callable[..., Path]) -> House:
    root = tmp_path_factory.mktemp("house")
    shutil.copytree(
        REPOSITORY / "src" / "hilum",
        root / "src" / "hilum",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("pyproject.toml", "tests/conftest.py", "tests/contracts/test_methods.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, root / name)
    methods = root / "src" / "hilum" / "methods"
    (methods / "toy.py").write_text(METHOD, "utf-8")
    table = (methods / "__init__.py").read_text("utf-8")
    begin = "METHODS = {\n"
    assert table.count(begin) == 1
    (methods / "__init__.py").write_text(table.replace(begin, begin + LINE), "utf-8")
    make_store(root / "store")
    (root / "toy.yaml").write_text(CONFIG, "utf-8")
    return House(root)


@pytest.fixture(scope="module")
def trained(house: House) -> dict[str, object]:
    """What the command says of a finished run of the toy, its options partly from a file."""
    words = (
        "--data",
        "store",
        "--out",
        "runs/toy",
        "--config",
        "toy.yaml",
        "--train.epochs",
        "3",
        "--json",
    )
    said: dict[str, object] = json.loads(
        house.run("hilum", "pretrain", "toy", *words).splitlines()[-1]
    )
    return said


def test_the_command_lists_it_and_its_help_has_its_options(house: House) -> None:
    listed = house.run("hilum", "pretrain", "--help")
    assert re.search(r"^\s*toy\s+A toy: predict from one crop", listed, re.MULTILINE)
    told = " ".join(house.run("hilum", "pretrain", "toy", "--help").split())
    assert "--method.embedding-size" in told
    assert "Length of the vectors that the toy compares." in told
    assert "--method.crops.min-scale" in told
    assert "hilum pretrain toy --data store" in told


def test_it_trains_with_the_options_of_its_block_in_a_config(
    house: House, trained: dict[str, object]
) -> None:
    import yaml

    record = yaml.safe_load((house.root / "runs/toy/options.yaml").read_text("utf-8"))["pretrain"][
        "toy"
    ]
    assert record["method"]["embedding_size"] == 24
    assert (record["train"]["epochs"], record["train"]["batch_size"]) == (3, 8)
    assert trained["steps"] == 3 * (52 // 8)
    model = json.loads((house.root / "runs/toy/model/model.json").read_text("utf-8"))
    assert model["method"] == "toy"


def test_its_features_are_probed(house: House, trained: dict[str, object]) -> None:
    words = (
        "runs/toy",
        "--data",
        "store",
        "--split",
        "test",
        "--resamples",
        "20",
        "--min-positives",
        "1",
        "--json",
    )
    said = json.loads(house.run("hilum", "probe", *words).splitlines()[-1])
    assert said["subject"] == "runs/toy"
    assert 0 <= said["knn_auroc_macro"] <= 1
    assert 0 <= said["linear_auroc_macro"] <= 1


def test_its_report_names_it_and_has_its_chart_and_crops(
    house: House, trained: dict[str, object]
) -> None:
    page = Path(house.root, house.run("hilum", "report", "runs/toy").splitlines()[-1]).read_text(
        "utf-8"
    )
    assert "<h1>Run toy: pretrain toy</h1>" in page
    assert "<h3>Loss</h3>" in page
    assert ">chance<" in page
    assert 'id="crops"' in page
    assert "data:image/png;base64," in page
    assert '<code>method.embedding_size</code></th><td class="hash">24<' in page


def test_it_keeps_the_contract_of_all_methods(house: House) -> None:
    words = (
        "tests/contracts/test_methods.py",
        "-q",
        "-k",
        "toy or table",
        "-p",
        "no:cacheprovider",
        "-rs",
    )
    told = house.run("pytest", *words)
    passed = re.search(r"(\d+) passed", told)
    assert passed is not None
    assert int(passed[1]) > 10, told
    assert "skipped" not in told
