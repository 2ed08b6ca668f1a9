"""Can the films of a published model be guessed back, by their names or by their pixels?

    python benchmarks/guess_names.py --json

Films with names of NIH's form are drawn, a small network is fine-tuned on them, and its folder ``model/`` alone is
passed on. The attacker knows the code, all 112,120 names (those of ``--table``, else as many of that form), every
patient number, and the stored pixels of all films that were drawn, half of which were trained on. Each name in several
spellings, and each hash of pixels, goes through every hash that the attacker may think of, also under every key that
can be read out of the folder; what comes out is looked for among all texts in its files. The same attack on a model as
version 0.1.0 wrote it must find every film, or the attack itself is broken. Then the store's owner asks: with the key
the films are refused, in two stores; without it the model says that it can refuse nothing.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from hilum.errors import DataError
from hilum.files import file_hashes, write_json
from hilum.group_key import FILE_NAME
from hilum.images.films import Films
from hilum.images.store import Store
from hilum.listener import Listener
from hilum.sources import read_source
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.evaluate.evaluate import evaluate
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.prepare.split import SplitOptions, split
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions

SIZE = 32
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
)
MODEL_FILES = ("model.safetensors", "model.json", "seen.parquet")


class Heard(Listener):
    """Keeps what a stage notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, line: str) -> None:
        """Keep a line."""
        self.notes.append(line)


def all_names(table: Path | None, count: int) -> list[str]:
    """Return the film names that the attacker tries."""
    if table is not None:
        content = table.read_bytes()
        content = gzip.decompress(content) if table.suffix == ".gz" else content
        rows = csv.DictReader(io.StringIO(content.decode(), newline=""))
        return [row["Image Index"] for row in rows][:count]
    return [f"{number // 4 + 1:08d}_{number % 4:03d}.png" for number in range(count)]


def lay_down(root: Path, names: Iterable[str], seed: int) -> None:
    """Write an NIH folder of noise films, some with Mass."""
    (root / "images").mkdir(parents=True)
    rng, rows = np.random.default_rng(seed), [HEADER]
    for name in names:
        pixels = rng.integers(0, 200, (SIZE, SIZE), dtype=np.uint8)
        label = rng.choice(["Mass", "Edema", "Mass|Edema", "No Finding"])
        pixels[8:16, 8:16] += 50 * ("Mass" in label)
        cv2.imwrite(str(root / "images" / name), pixels)
        rows.append(f"{name},{label},{int(name[9:12])},{int(name[:8])},50,M,PA")
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join(rows) + "\n")


def trained(folder: Path, names: list[str]) -> tuple[Path, Path]:
    """Return a store of the films and a run on them; the group's key lies beside them."""
    lay_down(folder / "nih14", names, 0)
    store = folder / "store"
    catalog = read_source("nih14", folder / "nih14", without_official_split=True)
    prepare(catalog, store, PrepareOptions(SIZE, workers=1))
    split(store, SplitOptions(seed=0, test=0.2, val=0.2))
    train = FinetuneTrainOptions(min_steps=0, epochs=1, batch_size=16, accelerator="cpu")
    finetune(
        FinetuneOptions(data=(store,), out=folder / "run", backbone="test_resnet", train=train)
    )
    return store, folder / "run"


def published(model: Path) -> set[bytes]:
    """Return every text that the files of a model folder hold: cells, values and runs of hex digits."""
    texts = {str(cell).encode() for column in pd.read_parquet(model / "seen.parquet").to_dict("list").values()
             for cell in column}  # fmt: skip
    for file in model.iterdir():
        content = file.read_bytes()
        texts.update(re.findall(rb"[0-9a-f]{16,128}", content))
        texts.update(re.findall(rb"[\w./-]{4,80}", content) if file.suffix == ".json" else [])
    return texts


def hashes(model: Path) -> list[Callable[[bytes], bytes]]:
    """Return the functions that the attacker tries, each from a text to hex digits."""
    found: list[Callable[[bytes], bytes]] = []
    for name in ("md5", "sha1", "sha256", "sha512", "blake2b", "blake2s"):
        found.append(lambda text, name=name: hashlib.new(name, text).hexdigest().encode())
    keys = [b"", bytes(32), b"hilum", b"film", b"hilum-key-1"]
    seen = pd.read_parquet(model / "seen.parquet")
    if "key" in seen:
        for key in seen["key"].dropna().unique():
            keys += [key.encode(), bytes.fromhex(key)]
    for kind in (b"film", b"pixels"):
        for key in keys:
            found.append(
                lambda text, key=key, kind=kind: (
                    hashlib.blake2b(text, digest_size=16, key=key, person=kind).hexdigest().encode()
                )
            )
    return found


def spellings(name: str) -> Iterator[bytes]:
    """Yield a film's name as it may have been hashed."""
    for text in (
        name,
        name.removesuffix(".png"),
        f"images/{name}",
        f"nih14/{name}",
        f"nih14/images/{name}",
    ):
        yield text.encode()


def attack(model: Path, names: list[str], pixels: dict[str, str]) -> tuple[set[str], set[str], int]:
    """Return the names and the films (by pixels) that are found in a model folder, and the hashes tried.

    A text is found whole, or by its first 32 hex digits.
    """
    known = published(model)
    known |= {text[:32] for text in known}
    functions = hashes(model)
    tried, by_name, by_pixels = 0, set(), set()
    for name in names:
        for text in spellings(name):
            if text in known or any((h := f(text)) in known or h[:32] in known for f in functions):
                by_name.add(name)
            tried += len(functions)
    for name, hashed in pixels.items():
        text = hashed.encode()
        if text in known or any((h := f(text)) in known or h[:32] in known for f in functions):
            by_pixels.add(name)
        tried += len(functions)
    return by_name, by_pixels, tried


def as_before(model: Path, out: Path, trained_films: pd.DataFrame) -> Path:
    """Return a copy of a model folder whose seen films are hashed as version 0.1.0 did."""
    shutil.copytree(model, out)
    names = [hashlib.sha256(f"nih14/{p}".encode()).hexdigest()[:32] for p in trained_films["path"]]
    table = pd.DataFrame({"name": names, "pixels": trained_films["pixels"].to_numpy()})
    table.to_parquet(out / "seen.parquet", index=False)
    write_json(out / "manifest.json", file_hashes(out, MODEL_FILES))
    return out


def asked(run: Path, store: Path, part: str) -> tuple[str, list[str]]:
    """Return how an evaluation of a run on a part of a store ends, and its notes."""
    heard = Heard()
    options = EvaluateOptions(data=store, split=part, min_positives=1, resamples=0, device="cpu")
    try:
        evaluate(run, options, heard)
    except DataError as error:
        return str(error), heard.notes
    return "", heard.notes


def refusals(folder: Path, store: Path, run: Path) -> dict[str, Any]:
    """Ask with the key, of two stores, and without it: the films under other names, in another set."""
    renamed = folder / "renamed"
    renamed.mkdir()
    rows = ["path,Mass,Edema"]
    for number, film in enumerate(sorted((folder / "nih14" / "images").iterdir())):
        shutil.copy(film, renamed / f"{number}.png")
        rows.append(f"{number}.png,{number % 2},{number % 3 % 2}")
    (renamed / "films.csv").write_text("\n".join(rows) + "\n")
    options = {"dataset": "other", "csv": "films.csv", "finding_columns": ("Mass", "Edema")}
    other = folder / "other"
    prepare(read_source("folder", renamed, **options), other, PrepareOptions(SIZE, workers=1))
    away = folder.parent / "elsewhere" / "store"
    shutil.copytree(store, away)
    without, notes = asked(run, away, "train")
    return {
        "with_key_own_store": asked(run, store, "train")[0],
        "with_key_other_store": asked(run, other, "all")[0],
        "without_key": without,
        "without_key_note": next((note for note in notes if "cannot tell" in note), ""),
    }


def main() -> None:
    """Attack, ask, and print the figures; exit with 1 where something is guessed or not refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, help="NIH's label table, .csv or .csv.gz")
    parser.add_argument("--names", type=int, default=112_120)
    parser.add_argument("--films", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    os.environ.pop("HILUM_KEY_FILE", None)
    names = all_names(given.table, given.names)
    chosen = np.random.default_rng(0).choice(len(names), given.films, replace=False)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "group"
        store, run = trained(folder, sorted(names[row] for row in chosen))
        model = shutil.copytree(run / "model", Path(scratch) / "published")
        films = Store.open(store).columns(["path", "pixels"])
        rows = pd.read_parquet(model / "seen.parquet")
        trained_films = films.iloc[Subsets.of(Films.open([store])).rows("train")]
        pixels = dict(zip(films["path"], films["pixels"], strict=True))
        began = time.process_time()
        by_name, by_pixels, tried = attack(model, names, pixels)
        seconds = time.process_time() - began
        old = as_before(model, Path(scratch) / "old", trained_films)
        old_names, old_pixels, _ = attack(old, names, pixels)
        own = {path.rpartition("/")[2] for path in trained_films["path"]}
        result = {
            "names_tried": len(names),
            "films_trained_on": len(own),
            "films_in_the_model": len(rows),
            "hashes_tried": tried,
            "attack_s": round(seconds, 1),
            "guessed_by_name": len(by_name),
            "guessed_by_pixels": len(by_pixels),
            "key_in_the_folder": any(FILE_NAME in str(path) for path in model.rglob("*")),
            "as_0.1.0_wrote_it": {
                "guessed_by_name": len(old_names & own),
                "guessed_by_pixels": len(old_pixels),
                "wrongly_guessed": len(old_names - own),
            },
            **refusals(folder, store, run),
        }
    print(json.dumps(result) if given.json else "\n".join(f"{k}: {v}" for k, v in result.items()))
    before = result["as_0.1.0_wrote_it"]
    attack_works = before["guessed_by_name"] == before["guessed_by_pixels"] == len(own)
    safe = not (by_name or by_pixels or result["key_in_the_folder"])
    refused = (
        f"trained on {len(own)} of the {len(own)} films" in result["with_key_own_store"]
        and f"trained on {len(own)} of the {given.films} films" in result["with_key_other_store"]
        and not result["without_key"]
        and f"cannot tell its {len(own)} training film" in result["without_key_note"]
    )
    raise SystemExit(not (attack_works and safe and refused))


if __name__ == "__main__":
    main()
