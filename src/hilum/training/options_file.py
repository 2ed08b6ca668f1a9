"""``options.yaml`` of a run: what repeats it, with a hash, and how it differs from what is asked now."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from hilum.errors import RunError
from hilum.files import inside, read_hashed_text, write_hashed_text
from hilum.options import ADDED

OPTIONS = "options.yaml"


def write_options(folder: Path, options: Mapping[str, Any]) -> None:
    """Write a run's options, which are a config file as well."""
    write_hashed_text(folder / OPTIONS, _text(options))


def as_written(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as they are read back."""
    content: dict[str, Any] = yaml.safe_load(_text(options))
    return content


def _text(options: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(options), sort_keys=False, allow_unicode=True)


MOST_YAML = 2**20
"""Bytes of options, at most; PyYAML reads some 100 kB a second."""
_MOST_VALUES = 100_000


def read_yaml(folder: Path, name: str) -> tuple[Any, bool]:
    """Return what a YAML file of a run's or study's folder holds, and whether it had a hash.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no YAML, not what was written, outside of the folder, or too large, also by
            names that stand for others again and again.
    """
    path = inside(folder, name)
    if (size := path.stat().st_size) > MOST_YAML:
        raise ValueError(f"{size} bytes, at most {MOST_YAML} are read")
    text, hashed = read_hashed_text(path)
    try:
        content = yaml.safe_load(text)
        counts: dict[int, float] = {}
        if _values(content, counts) > _MOST_VALUES:
            raise ValueError(f"more than {_MOST_VALUES} values")
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    return content, hashed


def _values(content: Any, counts: dict[int, float]) -> float:
    """Return how many values a tree has, those that stand in several places counted in each."""
    inner = content.values() if isinstance(content, dict) else content
    if not isinstance(content, (dict, list)):
        return 1
    if id(content) not in counts:
        counts[id(content)] = float("inf")  # what is met again inside itself has no end
        counts[id(content)] = 1 + sum(_values(value, counts) for value in inner)
    return counts[id(content)]


def read_options_file(folder: Path) -> tuple[dict[str, Any], bool]:
    """Return a run's options, and whether they had a hash, as those of 0.1.0 have not.

    Raises:
        RunError: They are missing or damaged.
    """
    path = folder / OPTIONS
    try:
        content, hashed = read_yaml(folder, OPTIONS)
        if not isinstance(content, dict):
            raise TypeError(f"a {type(content).__name__} is no mapping")
    except OSError as error:
        raise RunError(
            f"{folder} holds no run ({OPTIONS}: {error.strerror}): give the folder of one."
        ) from error
    except (ValueError, TypeError) as error:
        fault = " ".join(str(error).split())
        raise RunError(
            f"{path} is damaged ({fault:.300}): start again in another --out, or remove its last line to keep "
            "what you changed by hand."
        ) from error
    return content, hashed


def with_moved_paths(old: dict[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return old options with the new paths of stores, tables and runs whose recorded hashes are the same.

    The version that wrote them counts as today's.
    """
    before, now = (tree.get("record") or {} for tree in (old, new))
    moved = {"hilum"}  # a run of an earlier version goes on
    if before.get("data") and before["data"] == now.get("data"):
        moved |= {"data", "unlabelled"}
    moved |= {
        name
        for name in ("pseudo_labels", "init", "from")
        if before.get(name) and before[name] == now.get(name)
    }

    def renewed(block: Any, other: Any) -> Any:
        if not isinstance(block, dict) or not isinstance(other, dict):
            return block
        return {
            key: other[key]
            if key in moved and _as_many(value, other.get(key))
            else renewed(value, other.get(key))
            for key, value in block.items()
        }

    return {name: renewed(block, new.get(name)) for name, block in old.items()}


def _as_many(paths: Any, others: Any) -> bool:
    """Whether both are paths, or lists of as many."""
    if isinstance(paths, list) and isinstance(others, list):
        return len(paths) == len(others)
    return isinstance(paths, str) and isinstance(others, str)


def difference(old: Any, new: Any) -> str:
    """Return the differences of two trees of options in words, three at most; empty if there are none."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    names = [
        name
        for name in {**before, **after}
        if not _alike(name, before.get(name), after.get(name))
        and not (name not in before and name.endswith(ADDED))
    ]
    shown = ", ".join(
        f"{name}: {_shown(before.get(name))} there, {_shown(after.get(name))} now"
        for name in names[:3]
    )
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _shown(value: Any) -> str:
    is_hash = isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)
    return f"{value[:8]!r}" if is_hash else f"{value!r}"


def _alike(name: str, before: Any, after: Any) -> bool:
    """Whether two values are equal; the path of ``init`` may be relative or absolute."""
    if name.rpartition(".")[2] == "init" and isinstance(before, str) and isinstance(after, str):
        return before == after or Path(before).resolve() == Path(after).resolve()
    return bool(before == after)


def _leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, tree
