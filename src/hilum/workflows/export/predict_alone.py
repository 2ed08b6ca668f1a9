"""Read chest radiographs with an exported model: ``python predict.py film.png other.jpg --out predictions.csv``.

Needs numpy, opencv-python-headless and onnxruntime, and the files that lie beside it. Films are PNG or
JPEG; `hilum predict` reads DICOM too. Research use only, not a medical device.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hilum.csv_files import csv_text
from hilum.images.enhance import square_film
from hilum.images.read import MAX_PIXELS, decode_grey
from hilum.images.unreadable import UnreadableFilm

BATCH = 16
MOST_BYTES = 2**29


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a row for each film; return 1 if one could not be read, 2 if nothing could."""
    parser = argparse.ArgumentParser(description="Probabilities of findings on chest radiographs.")
    parser.add_argument("films", nargs="+", type=Path, help="PNG or JPEG files")
    parser.add_argument("--out", type=Path, help="CSV file to write; printed unless given")
    options = parser.parse_args(arguments)
    folder = Path(__file__).resolve().parent
    try:
        model, session = load(folder)
        failed = 0
        rows = []
        for film, values in predictions(options.films, model, session):
            if isinstance(values, str):
                failed += 1
                sys.stderr.write(f"{film} could not be read: {values}\n")
            else:
                rows.append(
                    [str(film), *(f"{value:.6f}" for value in values), called(values, model)]
                )
        write(rows, model, options.out)
    except (OSError, ValueError, KeyError, ImportError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2
    return 1 if failed else 0


def load(folder: Path) -> tuple[dict[str, Any], Any]:
    """Return model.json and the session of model.onnx, which must be the one that was exported."""
    os.environ.setdefault(
        "ORT_DISABLE_TELEMETRY", "1"
    )  # onnxruntime reports to its maker otherwise
    import onnxruntime

    model = json.loads((folder / "model.json").read_text("utf-8"))
    if model["format"] != 2:
        raise ValueError(
            f"{folder} is of another format than this script: take both from one export"
        )
    if model["preparation"].get("fix_polarity"):
        raise ValueError(
            "this model inverts films that look inverted, which needs Hilum: run `hilum predict` on this folder"
        )
    content = (folder / "model.onnx").read_bytes()
    checks = json.loads((folder / "checks.json").read_text("utf-8"))
    if hashlib.sha256(content).hexdigest() != checks["files"]["model.onnx"]["sha256"]:
        raise ValueError(f"{folder / 'model.onnx'} is not what was exported: fetch it again")
    return model, onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def prepared(path: Path, model: dict[str, Any]) -> np.ndarray:
    """Return a film as the model's training films were prepared, uint8 [side, side]."""
    if not path.is_file():
        raise UnreadableFilm("missing" if not path.exists() else "not a plain file")
    if path.stat().st_size > MOST_BYTES:
        raise UnreadableFilm("too many pixels", f"a file of more than {MOST_BYTES} bytes")
    data = path.read_bytes()
    if data[128:132] == b"DICM":
        raise UnreadableFilm("not supported", "DICOM is read by `hilum predict`")
    steps = model["preparation"]
    return square_film(decode_grey(data, MAX_PIXELS), steps["size"], steps["enhance"], steps["fit"])


def predictions(
    films: Sequence[Path], model: dict[str, Any], session: Any
) -> Iterator[tuple[Path, Any]]:
    """Yield each film with its probabilities (or features), or with the reason why it cannot be read."""
    graph = model["graph"]
    for start in range(0, len(films), BATCH):
        images: dict[Path, np.ndarray] = {}
        faults: dict[Path, str] = {}
        for film in films[start : start + BATCH]:
            try:
                images[film] = prepared(film, model)
            except (UnreadableFilm, OSError, MemoryError, cv2.error) as error:
                faults[film] = " ".join(str(error).split()) or type(error).__name__
        outputs: dict[Path, Any] = dict(faults)
        if images:
            given = {graph["input"]: np.stack(list(images.values()))[:, None]}
            values = session.run([graph["output"]], given)[0].astype(np.float64)
            if not np.isfinite(values).all():
                raise ValueError("the model's output is not finite")
            if model["findings"]:
                values = np.exp(-np.logaddexp(0, -values))  # the sigmoid of the logits
            outputs.update(zip(images, values, strict=True))
        yield from ((film, outputs[film]) for film in films[start : start + BATCH])


def called(values: np.ndarray, model: dict[str, Any]) -> str:
    """Return the findings whose probability reaches their threshold."""
    cuts = [model["thresholds"].get(name) for name in model["findings"]]
    return "|".join(
        name
        for name, value, cut in zip(model["findings"], values, cuts, strict=False)
        if cut is not None and value >= cut
    )


def write(rows: Sequence[Sequence[str]], model: dict[str, Any], out: Path | None) -> None:
    """Write the table; what a spreadsheet takes for a formula gets an apostrophe in front."""
    columns = model["findings"] or [
        f"feature_{number}" for number in range(model["graph"]["width"])
    ]
    text = csv_text(["film", *columns, "called"], rows)
    if out is None:
        sys.stdout.write(text)
        return
    aside = out.with_name(f".{out.name}.{os.getpid()}.part")
    aside.write_bytes(text.encode("utf-8", errors="surrogateescape"))
    aside.replace(out)


if __name__ == "__main__":
    sys.exit(main())
