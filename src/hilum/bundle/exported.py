"""A bundle of ``hilum export``: its files, what they say, and whether they are what was written; no torch needed.

```
DIR/model.safetensors   weights, the classifier among them, under timm's names
    config.json         timm's description of the network
    model.json          ExportedContent
    model.onnx          prepared films -> logits, class-activation maps and features
    predict.py          reads films with numpy, opencv and onnxruntime alone
    README.md           the card; it may be edited, so nothing vouches for it
    checks.json         size and SHA-256 of the others, and how model.onnx compares with torch
```
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hilum.bundle.description import HASH, Description, check_description
from hilum.errors import DataError, RunError
from hilum.files import file_hashes, is_plain_name, read_hashed_json, read_json, sha256
from hilum.records import read_record

FORMAT = 2
"""Of ``model.json`` in an exported bundle; the folder ``model/`` of a run has 1."""
WEIGHTS, CONFIG, DESCRIPTION, GRAPH, SCRIPT, CARD, CHECKS = (
    "model.safetensors",
    "config.json",
    "model.json",
    "model.onnx",
    "predict.py",
    "README.md",
    "checks.json",
)
FILES = WEIGHTS, CONFIG, DESCRIPTION, GRAPH, SCRIPT
"""What ``checks.json`` vouches for."""
MOST_JSON = 2**22
"""Bytes of a JSON file of a bundle, at most."""
MOST_GRAPH = 2**31
"""Bytes of ``model.onnx``, below: protobuf holds no more."""
REMEDY = "export it again, or fetch it again from where it came"


@dataclass(frozen=True)
class HeadNames:
    """Which tensors of the weights are the classifier's."""

    weight: str
    """Of the linear layer that gives the logits."""
    bias: str
    modules: tuple[str, ...]
    """timm's modules that hold it, with all that lies in them."""


@dataclass(frozen=True)
class GraphRecord:
    """Names and shapes of ``model.onnx``: uint8 films [batch, 1, side, side] in, float32 out."""

    input: str
    side: int
    """Side of the prepared film in pixels."""
    output: str
    """logits [batch, F]; of a run that was pretrained only features [batch, D]."""
    width: int
    """F or D."""
    maps: str | None = None
    """Class-activation maps [batch, F, rows, columns]; None where the network has none that are exact."""
    map_size: tuple[int, int] | None = None
    features: str | None = None
    """What the classifier's linear layer takes, [batch, D], by which films are compared; None in bundles
    of Hilum before December 2026."""
    features_width: int | None = None
    """D."""


@dataclass(frozen=True)
class ExportedContent:
    """What ``model.json`` holds beside the description."""

    graph: GraphRecord
    head: HeadNames | None = None
    """None after pretraining alone."""
    licence: str | None = None
    """As the exporter named it."""
    derived_from: tuple[Mapping[str, Any], ...] = ()
    """What training started from, the nearest first: kind, name, licence, source, sha256."""
    hilum: str = ""
    results: Mapping[str, Any] = field(default_factory=dict)
    """AUROC by evaluation, as the card shows it: films, patients, ``auroc`` (the mean over
    ``findings_scored``) and that of each of ``findings``, with ``value`` and ``interval``."""


@dataclass(frozen=True)
class FileRecord:
    """A file as it was written."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class ChecksRecord:
    """The part of ``checks.json`` that is read again."""

    files: Mapping[str, FileRecord]


@dataclass(frozen=True)
class Exported:
    """A bundle whose description was read and compared; its other files are compared by `verify`."""

    folder: Path
    description: Description
    content: ExportedContent
    files: Mapping[str, FileRecord]

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights, by which a model is known."""
        return self.files[WEIGHTS].sha256

    def verify(self, names: Iterable[str] = FILES) -> None:
        """Compare files with what was written.

        Raises:
            RunError: One is missing, no plain file, or another.
        """
        for name in names:
            if fault := self.fault(name):
                raise RunError(f"{self.folder / name} {fault}: {REMEDY}.")

    def fault(self, name: str) -> str | None:
        """Return what is wrong with a file in words, None if it is as written."""
        path, written = self.folder / name, self.files[name]
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                return "is no plain file"
            # The size first: a link to something endless is not read.
            if status.st_size != written.bytes or sha256(path) != written.sha256:
                return "is not what was written"
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        return None


def is_exported(path: Path) -> bool:
    """Whether a path is a bundle of ``hilum export``, whole or not."""
    return (path / DESCRIPTION).is_file() and any(
        (path / name).is_file() for name in (CHECKS, GRAPH, CONFIG)
    )


def read_exported(folder: Path) -> Exported:
    """Read a bundle's description, compared with its hash; the other files are not read yet.

    Raises:
        RunError: There is none, it is damaged, or it was written by a later version.
    """
    try:
        checks, hashed = read_hashed_json(_plain(folder / CHECKS), MOST_JSON)
        if not hashed:
            raise ValueError(f"{CHECKS} has no hash of itself")
        files = read_record(ChecksRecord, checks).files
        if set(files) != set(FILES) or not all(is_plain_name(name) for name in files):
            raise ValueError(f"{CHECKS} lists other files than {', '.join(FILES)}")
        if files[GRAPH].bytes >= MOST_GRAPH:
            raise ValueError(f"{GRAPH} has {files[GRAPH].bytes} bytes, below {MOST_GRAPH} are read")
        described = Exported(folder, Description("", 0, {}, ""), _NOTHING, files)
        described.verify([DESCRIPTION, CONFIG])
        content = read_json(_plain(folder / DESCRIPTION), MOST_JSON)
        _refuse_other_format(folder, content)
        description = read_record(Description, content)
        check_description(description)
        exported = read_record(ExportedContent, content)
        config = read_json(_plain(folder / CONFIG), MOST_JSON)
        _check(description, exported, content, config, files)
    except (OSError, ValueError, KeyError, TypeError, DataError) as error:
        fault = " ".join(str(error).split())
        if isinstance(error, OSError):
            fault = f"{Path(str(error.filename)).name}: {error.strerror}"
        raise RunError(f"{folder} is no whole bundle ({fault:.120}): {REMEDY}.") from error
    return Exported(folder, description, exported, files)


def file_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and hash of each of FILES, as ``checks.json`` has them."""
    hashes = file_hashes(folder, FILES)
    return {
        name: {"bytes": (folder / name).stat().st_size, "sha256": hashes[name]} for name in FILES
    }


def _refuse_other_format(folder: Path, content: Any) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__} in {DESCRIPTION} is no JSON object")
    written = content.get("format")
    if isinstance(written, int) and written > FORMAT:
        raise RunError(
            f"{folder} was written by a later Hilum (format {written}): upgrade to read it."
        )
    if written != FORMAT:
        raise ValueError(f"format {written!r:.20} of {DESCRIPTION} is not {FORMAT}")


def _check(
    description: Description,
    exported: ExportedContent,
    content: Mapping[str, Any],
    config: Any,
    files: Mapping[str, FileRecord],
) -> None:
    """Raise a ValueError where the files of a bundle contradict each other."""
    if content.get(HASH) != files[WEIGHTS].sha256:
        raise ValueError(f"{DESCRIPTION} is that of other weights")
    architecture = config.get("architecture") if isinstance(config, dict) else None
    if architecture != description.backbone.split(".")[0]:
        raise ValueError(
            f"{CONFIG} is of {architecture!r:.40}, {DESCRIPTION} of {description.backbone!r:.40}"
        )
    graph, findings = exported.graph, len(description.findings)
    if graph.side != description.preparation["size"]:
        raise ValueError(f"{GRAPH} takes {graph.side} px, films are prepared at another size")
    if bool(findings) != (exported.head is not None) or (findings and graph.width != findings):
        raise ValueError(f"{graph.width} outputs do not fit {findings} findings")


def _plain(path: Path) -> Path:
    """Return a path if it is a plain file: a pipe would block, a device never end.

    Raises:
        ValueError: It is something else.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path.name} is no plain file")
    return path


_NOTHING = ExportedContent(GraphRecord("", 0, "", 0))
