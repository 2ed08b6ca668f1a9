"""Embedding: a frozen backbone's features of every film, as a Parquet table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hilum.arrays import Rows
from hilum.bundle.initialization import InitialWeights, initial_weights, input_size
from hilum.bundle.model_folder import described, is_model
from hilum.bundle.predictor import choose_device
from hilum.errors import OptionError
from hilum.files import canonical_json, replacing
from hilum.images.films import Films
from hilum.listener import SILENT, Listener
from hilum.nn.backbones import Backbone
from hilum.training.inference import BATCH, describe_device, over_films
from hilum.version import __version__
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.inference.options import EmbedOptions

GROUP = 8 * BATCH
"""Films that are held in memory and written together: 16 MB of features at 2048 a film."""
RECORD = b"hilum"
"""Key of the file's metadata under which it says, as JSON, what it holds."""
NOTICE = "Research use only, not a medical device."


@dataclass(frozen=True)
class EmbedResult:
    """Where the table is, how many films it has, and how many features each."""

    out: Path
    films: int
    features: int
    already_done: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {
            "out": str(self.out),
            "films": self.films,
            "features": self.features,
            "already_done": self.already_done,
        }


def embed(subject: str | Path, options: EmbedOptions, listener: Listener = SILENT) -> EmbedResult:
    """Write one row a film: source, path, patient, part, and the frozen backbone's features.

    The file's metadata says, as JSON under ``hilum``, what the features are of; equal inputs give
    equal bytes on one kind of device.

    Args:
        subject: A run folder, a weights file, ``random`` or ``imagenet``.
        options: Films and place.
        listener: Hears notes and progress.

    Raises:
        OptionError: ``out`` is a folder or another file.
        DataError: The films were prepared in another way than the run's, or the part has none.
        HilumError: Anything else the user can mend; see the line.
    """
    subject = str(subject)
    held = _held(options.out)
    films = Films.open(options.data)
    subsets = Subsets.of(films)
    rows = subsets.needed(options.split)
    size = input_size(subject, options.size, films.preparation)
    start = initial_weights(subject, options.backbone, size, options.seed)
    if start.preparation is not None:
        films.refuse_other_preparation(start.preparation)
    record = _record(subject, start, size, subsets, options.split)
    result = EmbedResult(
        options.out, len(rows), start.backbone.out_features, already_done=held is not None
    )
    if held is not None:
        _refuse_other(options.out, held, record)
        listener.note(f"{options.out} is already done")
        return result
    for note in start.notes:
        listener.note(note)
    device = choose_device(options.device)
    listener.device(describe_device(device))
    start.backbone.to(device)
    schema = _schema(start.backbone.out_features, record)
    _write(
        options.out,
        schema,
        _named(subsets, rows),
        _features(start.backbone, films, rows, size, listener),
    )
    return result


def _write(
    out: Path, schema: pa.Schema, table: pd.DataFrame, groups: Iterable[tuple[int, np.ndarray]]
) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as aside, pq.ParquetWriter(aside, schema) as writer:
        for place, features in groups:
            writer.write_table(_group(table.iloc[place : place + len(features)], features, schema))


def _features(
    backbone: Backbone, films: Films, rows: Rows, size: int, listener: Listener
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the features [n, D] of one group of films after the other, each with the place of its first film."""
    for begin in range(0, len(rows), GROUP):

        def progress(done: int, _: int, begin: int = begin) -> None:
            if done or not begin:  # each group begins with 0, the whole only once
                listener.progress("embed", begin + done, len(rows))

        yield begin, over_films(backbone, films, rows[begin : begin + GROUP], size, progress)


def _named(subsets: Subsets, rows: Rows) -> pd.DataFrame:
    """Return source, path, patient and part of the films; the part is null where a film belongs to none."""
    films = subsets.films
    pairs = zip(films.stores, subsets.splits, strict=True)
    assigned = pd.concat([split.assign(store.catalog) for store, split in pairs], ignore_index=True)
    return (
        films.catalog[["source", "path", "patient"]]
        .assign(part=assigned.astype("string"))
        .iloc[rows]
    )


def _schema(features: int, record: dict[str, Any]) -> pa.Schema:
    names = [(name, pa.string()) for name in ("source", "path", "patient", "part")]
    return pa.schema(
        [*names, ("features", pa.list_(pa.float32(), features))], {RECORD: canonical_json(record)}
    )


def _group(table: pd.DataFrame, features: np.ndarray, schema: pa.Schema) -> pa.Table:
    columns = [pa.array(table[name], pa.string(), from_pandas=True) for name in table.columns]
    flat = pa.array(np.ascontiguousarray(features, np.float32).reshape(-1))
    return pa.table(
        [*columns, pa.FixedSizeListArray.from_arrays(flat, features.shape[1])], schema=schema
    )


def _record(
    subject: str, start: InitialWeights, size: int, subsets: Subsets, split: str
) -> dict[str, Any]:
    """Return what the file says of itself; no path and no time is in it."""
    named = Path(subject)
    return {
        "model": described(named).method if is_model(named) else named.name,
        "backbone": start.backbone.name,
        "weights": _weights_hash(start.backbone),
        "preparation": subsets.films.preparation.to_json(),
        "size": size,
        "split": split,
        "data": [asdict(store) for store in subsets.record()],
        "hilum": __version__,
        "notice": NOTICE,
    }


def _weights_hash(backbone: Backbone) -> str:
    """Return the hex SHA-256 over the backbone's tensors, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(backbone.network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _held(out: Path) -> dict[str, Any] | None:
    """Return what an older result at ``out`` says of itself, None where there is no file.

    Raises:
        OptionError: There is something else.
    """
    if out.is_dir():
        raise OptionError(
            f"--out is {out}, a folder: give a file name, such as {out / 'features.parquet'}."
        )
    if not out.exists():
        return None
    try:
        record = json.loads((pq.read_schema(out).metadata or {})[RECORD])
    except (OSError, ValueError, KeyError, pa.ArrowException):
        record = None
    if not isinstance(record, dict):
        raise OptionError(
            f"--out is {out}, a file that `hilum embed` did not write: give another name."
        )
    return record


def _refuse_other(out: Path, held: dict[str, Any], record: dict[str, Any]) -> None:
    differing = [name for name in {**record, **held} if held.get(name) != record.get(name)]
    if differing:
        raise OptionError(
            f"--out is {out}, which holds other features (not the same: {', '.join(differing)}): give another name."
        )
