"""What a run's weights come from: every starting point back to random weights, with its licence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import timm

from hilum.bundle.exported import is_exported, read_exported
from hilum.bundle.initialization import weights_hash
from hilum.bundle.model_folder import described, is_model
from hilum.errors import HilumError
from hilum.training.options_file import OPTIONS, read_options_file

UNKNOWN = "unknown"
PERMISSIVE = ("apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "cc0-1.0", "cc-by-4.0")
MOST = 20
"""Generations that are followed."""


def ancestry(run: Path, init_licence: str | None = None) -> tuple[dict[str, Any], ...]:
    """Return what the weights of a run started from, the nearest first; nothing for random weights alone.

    Each entry has ``kind`` (run, bundle, imagenet, file or unknown), ``name``, ``licence``, ``source`` and
    ``sha256``, of which some are null. No path and no name of a run is in it.
    """
    entries: list[dict[str, Any]] = []
    folder: Path | None = run
    while folder is not None and len(entries) < MOST:
        try:
            options, _ = read_options_file(folder)
        except HilumError:
            return (*entries, _entry(UNKNOWN, "no record of what training started from"))
        block = next(_blocks(options), {"init": UNKNOWN})
        init, digest = str(block["init"]), (options.get("record") or {}).get("init")
        folder = None
        if init == "imagenet":
            entries.append(_of_imagenet(str(block.get("backbone") or "resnet18")))
        elif init != "random":
            path = Path(init)
            known = is_model(path) and weights_hash(init) == digest
            if known and is_exported(path):
                content = read_exported(path).content
                entries.append(
                    _entry("bundle", "an exported bundle", content.licence, digest=digest)
                )
                entries += [dict(entry) for entry in content.derived_from]
            elif known and (path / OPTIONS).is_file():
                name = f"a run of Hilum ({described(path).method})"
                entries.append(_entry("run", name, digest=digest))
                folder = path
            else:
                kind = "file" if digest and not is_model(path) else UNKNOWN
                entries.append(_entry(kind, "a weights file", init_licence, digest=digest))
    return tuple(entries)


def warnings_of(entries: tuple[dict[str, Any], ...]) -> Iterator[str]:
    """Yield a line for each starting point whose licence is unknown or goes with its derivatives."""
    for entry in entries:
        if entry["kind"] == "run":
            continue
        if entry["licence"] in (None, UNKNOWN):
            yield (
                f"the licence of what the weights started from is unknown ({entry['name']}): "
                "find it, and give --init-licence, before you pass the bundle on"
            )
        elif entry["licence"] not in PERMISSIVE:
            yield (
                f"the weights started from {entry['name']} under {entry['licence']}, whose terms may bind what is made "
                "from it: read them before you pass the bundle on"
            )


def _of_imagenet(backbone: str) -> dict[str, Any]:
    config = timm.get_pretrained_cfg(backbone)
    licence = getattr(config, "license", None)
    source = getattr(config, "hf_hub_id", None) or getattr(config, "url", None)
    source = f"https://huggingface.co/{source}" if source and "://" not in source else source
    return _entry("imagenet", f"timm's published weights of {backbone}", licence, source or None)


def _entry(
    kind: str,
    name: str,
    licence: str | None = None,
    source: str | None = None,
    digest: str | None = None,
) -> dict[str, Any]:
    return {"kind": kind, "name": name, "licence": licence, "source": source, "sha256": digest}


def _blocks(options: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the blocks of options that name where training starts."""
    for name, block in options.items():
        if name != "record" and isinstance(block, Mapping):
            if "init" in block:
                yield block
            yield from _blocks(block)
