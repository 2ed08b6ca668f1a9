"""The bundle: a trained model on disk, its weights and the description needed to use it.

```
model/model.safetensors   weights
      model.json          Description
      seen.parquet        hashes of the training films
      manifest.json       SHA-256 of the three
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import load_file
from torch import Tensor, nn

from hilum.bundle.description import FORMAT, HASH, Description, check_description
from hilum.bundle.exported import is_exported, read_exported
from hilum.bundle.exported_weights import load_exported
from hilum.bundle.starter import resolved
from hilum.bundle.training_manifest import COLUMNS
from hilum.bundle.weights import refuse_not_finite
from hilum.classifier.network import Classifier
from hilum.errors import DataError, RunError
from hilum.files import (
    age_line,
    canonical_json,
    file_hashes,
    new_folder,
    read_hashes,
    read_json,
    refuse_links_out,
    sha256,
    write_json,
)
from hilum.images.catalog_table import write_columns
from hilum.nn.backbones import Backbone
from hilum.records import read_record
from hilum.training.checkpoint import write_tensors
from hilum.training.run_folder import unhashed_files

WEIGHTS, DESCRIPTION, SEEN = "model.safetensors", "model.json", "seen.parquet"
FILES = WEIGHTS, DESCRIPTION, SEEN
MANIFEST = "manifest.json"
"""Hashes of FILES; models of 0.1.0 have none, but that of the weights in their description."""


@dataclass(frozen=True)
class Model:
    """A bundle in memory: description, network and training manifest.

    ``head`` is None after pretraining. ``seen`` has a row for each training film with two hashes,
    ``name`` and ``pixels``.
    """

    description: Description
    backbone: Backbone
    head: nn.Linear | None
    seen: pd.DataFrame

    @property
    def classifier(self) -> Classifier:
        """The network from standardised films to logits.

        Raises:
            RunError: The model was pretrained only.
        """
        if self.head is None:
            raise RunError(
                "this model was pretrained only and calls no findings: run `hilum finetune --init RUN` first."
            )
        return Classifier(self.backbone, self.head)


def save_model(folder: Path, model: Model) -> None:
    """Write a bundle, replacing an older one in the same folder."""
    tensors: dict[str, Tensor] = {
        f"backbone.{name}": value for name, value in model.backbone.network.state_dict().items()
    }
    if model.head is not None:
        tensors |= {f"head.{name}": value for name, value in model.head.state_dict().items()}
    with new_folder(folder) as aside:
        write_tensors(aside / WEIGHTS, tensors)
        described = {**asdict(model.description), HASH: sha256(aside / WEIGHTS)}
        (aside / DESCRIPTION).write_bytes(canonical_json(described))
        write_columns(aside / SEEN, model.seen, ("name", "pixels"))
        write_json(aside / MANIFEST, file_hashes(aside, FILES))


def is_model(path: Path) -> bool:
    """Whether a path is a bundle, or a run folder that holds one."""
    path = resolved(path)
    return (path / DESCRIPTION).is_file() or (path / "model" / DESCRIPTION).is_file()


def load_model(path: Path) -> Model:
    """Load a bundle from its folder, from the run folder that holds it, or as `hilum export` wrote it.

    Raises:
        RunError: There is none, it is damaged, or it was written by a later version.
    """
    path = resolved(path)
    if is_exported(path):
        exported, network, linear = load_exported(path)
        nothing = pd.DataFrame({column: pd.array([], "string") for column in COLUMNS})
        return Model(exported.description, network, linear, nothing)
    folder, description = _bundle_folder(path), described(path)
    if damaged := damages(folder):
        raise RunError(f"{folder / damaged[0]} is missing or not what was written: train it again.")
    try:
        backbone = Backbone(description.backbone, description.size)
        tensors = load_file(folder / WEIGHTS)
        seen = pd.read_parquet(folder / SEEN)
        if not all(pd.api.types.is_string_dtype(seen[name]) for name in ("name", "pixels")):
            raise ValueError(f"{SEEN} holds what are no texts")
    except Exception as error:
        # timm, safetensors, pyarrow and the file system each have their own errors for a damaged file.
        raise RunError(
            f"the model in {folder} is damaged ({error!s:.80}): train it again."
        ) from error
    head = (
        nn.Linear(backbone.out_features, len(description.findings))
        if description.findings
        else None
    )
    _load_strictly(backbone.network, tensors, "backbone.", folder)
    if head is not None:
        _load_strictly(head, tensors, "head.", folder)
    return Model(description, backbone, head, seen)


def described(path: Path) -> Description:
    """Read the description of a bundle, from its folder or the run folder that holds it.

    Raises:
        RunError: There is none, it is damaged, or of a later version.
    """
    path = resolved(path)
    if is_exported(path):
        return read_exported(path).description
    folder = _bundle_folder(path)
    try:
        content = description_content(folder)
        if content["format"] > FORMAT:
            raise RunError(
                f"{folder} was written by a later Hilum (format {content['format']}): upgrade to read it."
            )
        if not isinstance(content[HASH], str):
            raise ValueError(f"{HASH} is no text")
        description = read_record(Description, content)
        check_description(description)
    except (OSError, ValueError, KeyError, TypeError, DataError) as error:
        fault = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise RunError(
            f"{folder / DESCRIPTION} is damaged ({fault:.80}): train it again."
        ) from error
    return description


def description_content(folder: Path) -> dict[str, Any]:
    """Return what the description of a bundle holds, compared with its hash.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no JSON object, or not what was written.
    """
    hashes = read_hashes(folder / MANIFEST)
    if hashes is not None and (
        set(hashes) != set(FILES) or hashes[DESCRIPTION] != sha256(folder / DESCRIPTION)
    ):
        raise ValueError(f"not what {MANIFEST} says")
    content = read_json(folder / DESCRIPTION)
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__} is no JSON object")
    return content


def damages(path: Path) -> list[str]:
    """Return the files of a bundle that are missing or not what was written.

    Raises:
        RunError: There is none, or its description is damaged.
    """
    path = resolved(path)
    if is_exported(path):
        exported = read_exported(path)
        return [name for name in exported.files if exported.fault(name)]
    folder = _bundle_folder(path)
    described(folder)
    hashes = read_hashes(folder / MANIFEST)
    if hashes is None:  # written by 0.1.0
        hashes = {WEIGHTS: str(read_json(folder / DESCRIPTION)[HASH])}
    return [
        name
        for name in FILES
        if not (folder / name).is_file()
        or (name in hashes and sha256(folder / name) != hashes[name])
    ]


def age_notes(path: Path) -> tuple[str, ...]:
    """Return a line for the user where a bundle or a run has files without a hash, as those of 0.1.0 have."""
    path = resolved(path)
    if is_exported(path):
        return ()
    alone = (path / DESCRIPTION).is_file()
    folder = path if alone else path / "model"
    lacking = []
    if (folder / DESCRIPTION).is_file() and not (folder / MANIFEST).is_file():
        lacking = [(folder / name).relative_to(path).as_posix() for name in (DESCRIPTION, SEEN)]
    return age_line(path, lacking if alone else [*lacking, *unhashed_files(path)])


def weights_file(path: Path) -> Path:
    """Return where the weights of a bundle are, or of the run folder that holds it.

    Raises:
        RunError: There is none, or it lies outside of the run.
    """
    path = resolved(path)
    return _bundle_folder(path) / WEIGHTS


def _bundle_folder(path: Path) -> Path:
    """Return the folder of a bundle, or of that in a run.

    A bundle's own files may be links, as caches of published models have them: its hashes hold.

    Raises:
        RunError: There is none, or that of the run lies outside of it.
    """
    if (path / DESCRIPTION).is_file():
        return path
    folder = path / "model"
    if not (folder / DESCRIPTION).is_file():
        raise RunError(
            f"{path} holds no trained model (no model/{DESCRIPTION}): give the folder of a finished run."
        )
    try:
        refuse_links_out(path, ["model"])
    except ValueError as error:
        raise RunError(f"{error}: put a copy in its place, which leads nowhere.") from error
    return folder


def _load_strictly(
    module: nn.Module, tensors: Mapping[str, Tensor], prefix: str, folder: Path
) -> None:
    for name, value in tensors.items():
        refuse_not_finite(name, value, str(folder))
    try:
        module.load_state_dict(
            {
                name[len(prefix) :]: value
                for name, value in tensors.items()
                if name.startswith(prefix)
            }
        )
    except RuntimeError as error:
        raise RunError(
            f"the weights in {folder} do not fit its {DESCRIPTION}: train it again."
        ) from error
