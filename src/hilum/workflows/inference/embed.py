"""Embedding: a frozen backbone's features of every film, as a Parquet table."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
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
"""Key of the file's metadata whose JSON describes the content."""
NOTICE = "Research use only, not a medical device."


@dataclass(frozen=True)
class EmbedResult:
    """The table's path, its number of films, and the number of features each."""

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
    """Write one row a film: source, path, patient, split, and the frozen backbone's features.

    The file's metadata describes the features as JSON under ``hilum``. Equal inputs give equal bytes
    on one kind of device.

    Args:
        subject: A run folder, a weights file, ``random`` or ``imagenet``.
        options: Films, and the file to write.
        listener: Receives notes and progress.

    Raises:
        OptionError: ``out`` is a folder or another file.
        DataError: The films were prepared in another way than the run's, or the split has none.
        HilumError: Anything else the user can mend; see the line.
    """
    subject = str(subject)
    existing = _existing(options.out)
    films = Films.open(options.data, listener=listener)
    subsets = Subsets.of(films)
    rows = subsets.needed(options.split)
    size = input_size(subject, options.size, films.preparation)
    start = initial_weights(subject, options.backbone, size, options.seed, options.allow_partial)
    if start.preparation is not None:
        films.refuse_other_preparation(start.preparation)
    record = _record(subject, start, size, subsets, options.split)
    result = EmbedResult(
        options.out, len(rows), start.backbone.out_features, already_done=existing is not None
    )
    if existing is not None:
        names = {**record, **existing}
        differing = [name for name in names if existing.get(name) != record.get(name)]
        if differing:
            raise OptionError(
                f"--out is {options.out}, which holds other features (not the same: {', '.join(differing)}): "
                "give another name."
            )
        listener.note(f"{options.out} is already done")
        return result
    for note in start.notes:
        listener.note(note)
    device = choose_device(options.device)
    listener.device(describe_device(device))
    start.backbone.to(device)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(options.out) as aside:
        _write_features(aside, start.backbone, subsets, rows, size, record, listener)
    return result


def _write_features(
    file: Path,
    backbone: Backbone,
    subsets: Subsets,
    rows: Rows,
    size: int,
    record: dict[str, Any],
    listener: Listener,
) -> None:
    """Write the rows group by group, so that only one group's features are in memory."""
    columns = ["source", "path", "patient", "part"]
    table = subsets.films.catalog[columns[:3]]
    table = table.assign(part=subsets.split_of_each().astype("string")).iloc[rows]
    kind = pa.list_(pa.float32(), backbone.out_features)
    schema = pa.schema(
        [*((name, pa.string()) for name in columns), ("features", kind)],
        {RECORD: canonical_json(record)},
    )
    with pq.ParquetWriter(file, schema) as writer:
        for begin in range(0, len(rows), GROUP):

            def progress(done: int, _: int, begin: int = begin) -> None:
                if done or not begin:  # each group begins with 0, the whole only once
                    listener.progress("embed", begin + done, len(rows))

            group = slice(begin, begin + GROUP)
            features = over_films(backbone, subsets.films, rows[group], size, progress)
            values = pa.array(np.ascontiguousarray(features, np.float32).reshape(-1))
            arrays = [
                pa.array(table[name].iloc[group], pa.string(), from_pandas=True) for name in columns
            ]
            arrays.append(pa.FixedSizeListArray.from_arrays(values, backbone.out_features))
            writer.write_table(pa.table(arrays, schema=schema))


def _record(
    subject: str, start: InitialWeights, size: int, subsets: Subsets, split: str
) -> dict[str, Any]:
    """Return the description of the features for the file's metadata, without paths and times."""
    path = Path(subject)
    weights = hashlib.sha256()
    for name, tensor in sorted(start.backbone.network.state_dict().items()):
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        weights.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return {
        "model": described(path).method if is_model(path) else path.name,
        "backbone": start.backbone.name,
        "weights": weights.hexdigest(),
        "preparation": subsets.films.preparation.to_json(),
        "size": size,
        "split": split,
        "data": [asdict(store) for store in subsets.record()],
        "hilum": __version__,
        "notice": NOTICE,
    }


def _existing(out: Path) -> dict[str, Any] | None:
    """Return the description in an older result at ``out``, None where there is no file.

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
