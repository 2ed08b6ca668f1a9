"""The wheel holds all that the package needs, and works where no clone is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as pip would lay it into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(REPOSITORY),
    ]
    subprocess.run(build, check=True, capture_output=True, cwd=folder)
    (wheel,) = folder.glob("hilum-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


SCRIPT = """
from pathlib import Path

import hilum
import numpy as np
import pandas as pd

hilum.write_phantoms(Path("films"), hilum.PhantomOptions(count=30, size=32))
catalog: hilum.Catalog = hilum.read_source("chexpert", "films")
hilum.prepare(catalog, Path("store"), hilum.PrepareOptions(size=32))
hilum.split(Path("store"), hilum.SplitOptions(test=0.2))
train = hilum.TrainOptions(epochs=1)
hilum.pretrain(
    "moco",
    hilum.MoCoOptions(temperature=0.2),
    hilum.PretrainOptions(data=(Path("store"),), out=Path("moco"), train=train),
)
run = hilum.finetune(
    hilum.FinetuneOptions(
        data=(Path("store"),),
        out=Path("run"),
        labels=hilum.LabelOptions(),
        loss=hilum.LossOptions(gamma=1.0),
    )
).run
auroc = hilum.evaluate(run, hilum.EvaluateOptions(data=Path("store"))).to_json()
model = hilum.load("run")
table: pd.DataFrame = model.predict(["a.png", Path("b.png")])
features = model.features(np.zeros((8, 8), np.uint8))
width: int = features.shape[1]
page: Path = hilum.report(Path("run")).report
reveal_type(table)
reveal_type(model)
reveal_type(features)
reveal_type(hilum.explain)
try:
    hilum.predict(run, ["a.png"], Path("out.csv"))
except (hilum.DataError, hilum.Interrupted) as error:
    print(error, hilum.__version__)
"""


def run(unpacked: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        cwd=unpacked.parent,
        env=environment,
        timeout=300,
    )


def test_every_file_of_the_package_is_in_the_wheel(unpacked: Path) -> None:
    source = REPOSITORY / "src"
    listed = subprocess.run(
        ["git", "ls-files", "src"], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    expected = {
        Path(name).relative_to("src")
        for name in listed.stdout.split()
        if (REPOSITORY / name).is_file()
    }
    if not expected:  # not a git checkout
        expected = {
            file.relative_to(source)
            for file in source.rglob("*")
            if file.is_file() and file.suffix != ".pyc"
        }
    missing = sorted(str(name) for name in expected if not (unpacked / name).is_file())
    assert not missing


def test_the_package_is_taken_from_the_wheel_and_its_commands_run(unpacked: Path) -> None:
    where = run(unpacked, "-c", "import hilum; print(hilum.__file__)")
    assert Path(where.stdout.strip()).is_relative_to(unpacked)
    start = "import sys; from hilum.cli import main; sys.exit(main(sys.argv[1:]))"
    drawn = run(unpacked, "-c", start, "phantom", "films", "--count", "30", "--size", "32")
    assert drawn.returncode == 0, drawn.stderr
    prepared = run(
        unpacked, "-c", start, "prepare", "chexpert", "films", "--out", "store", "--config", "small"
    )
    assert prepared.returncode == 0, prepared.stderr
    assert (unpacked.parent / "store" / "manifest.json").is_file()


def test_a_users_script_is_type_checked_against_the_wheel(unpacked: Path) -> None:
    assert (unpacked / "hilum" / "py.typed").is_file()
    script = unpacked.parent / "user.py"
    script.write_text(SCRIPT, "utf-8")
    words = ("-m", "mypy", "--strict", "--cache-dir", str(unpacked.parent / "cache"))
    checked = run(unpacked, *words, str(script))
    assert checked.returncode == 0, checked.stdout
    for expected in ("DataFrame", "Predictor", "_32Bit|float32", "ExplainResult"):
        assert re.search(f"Revealed type is .*({expected})", checked.stdout), expected
    script.write_text("import hilum\nhilum.SplitOptions(tset=0.2)\nhilum.pretrian\n", "utf-8")
    refused = run(unpacked, *words, str(script))
    assert refused.returncode == 1
    assert 'Unexpected keyword argument "tset"' in refused.stdout
    assert 'has no attribute "pretrian"' in refused.stdout
