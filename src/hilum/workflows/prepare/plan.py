"""What a store will hold, decided before the first film is read: the rows, the shards, and what must not change."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.catalog import Catalog
from hilum.errors import OptionError, RunError, choose
from hilum.images.enhance import Preparation
from hilum.images.read import MAX_PIXELS

VIEWS: dict[str, tuple[str, ...]] = {"all": (), "frontal": ("LATERAL",)}
"""Which view positions are left out, by name; films of unknown position stay."""
MOST_FILMS, MOST_BYTES = 2048, 2**26
"""A shard has at most so many rows of the catalogue, and bytes: what a kill may cost."""
PLAN = "plan.json"
WORKPLACE = ".preparing"
"""Folder below the store for what is not finished."""


@dataclass(frozen=True)
class PrepareOptions:
    """How films become a store."""

    size: int
    """Side of the stored square in pixels."""
    enhance: str = "none"
    """none, paper (denoise, then equalise the histogram) or clahe."""
    fit: str = "squash"
    """squash (the aspect ratio is lost) or pad (black margins)."""
    views: str = "all"
    """all or frontal (laterals left out)."""
    workers: int | None = None
    """Processes; as many as cores unless told. The store does not depend on it."""
    shard: str | None = None
    """i/n: do only the i-th of n parts; the last part to finish merges them."""
    dedup: bool = False
    """Look for near copies too, and let no part have a film twice; nothing is deleted."""
    max_pixels: int = MAX_PIXELS
    """Films above this many pixels fail."""
    patience: float = 60.0
    """Seconds after which a film's decoder counts as hung."""

    def __post_init__(self) -> None:
        """Refuse limits that no film could keep.

        Raises:
            OptionError: A limit is not above 0.
        """
        if self.max_pixels < 1:
            raise OptionError(f"max_pixels is {self.max_pixels}: allowed is 1 or more.")
        if not 0 < self.patience < float("inf"):
            raise OptionError(
                f"patience is {self.patience}: allowed are seconds above 0, such as 60."
            )

    def preparation(self) -> Preparation:
        """Return the steps from a grey film to a stored one.

        Raises:
            OptionError: A size or a name is not allowed.
        """
        return Preparation(self.size, self.enhance, self.fit)

    def worker_count(self) -> int:
        """Return how many processes to use.

        Raises:
            OptionError: Fewer than 1.
        """
        if self.workers is None:
            return len(os.sched_getaffinity(0))
        if self.workers < 1:
            raise OptionError(
                f"--workers is {self.workers}: give 1 or more, or leave it out for all cores."
            )
        return self.workers

    def part(self) -> tuple[int, int]:
        """Return which part of how many, counted from 0.

        Raises:
            OptionError: Not of the form i/n with i from 1 to n.

        >>> PrepareOptions(64, shard="2/3").part()
        (1, 3)
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", self.shard or "1/1")
        number, parts = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= parts:
            raise OptionError(f"shard is {self.shard!r}: give i/n with i from 1 to n, as in 2/8.")
        return number - 1, parts


@dataclass(frozen=True)
class Plan:
    """Which rows go where. The shards are cut over the catalogue's rows, so that a film that fails moves no other."""

    catalog: Catalog
    preparation: Preparation
    rows: np.ndarray
    """Rows of the catalogue to be stored, int64 [N]."""
    excluded: dict[str, int]
    """Rows read that are not to be stored, by reason."""
    films_a_shard: int
    facts: dict[str, Any]
    """What a store may not be resumed under if it differs."""

    @property
    def dedup(self) -> bool:
        """Whether near copies are looked for."""
        return bool(self.facts.get("dedup", False))

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return -(-len(self.rows) // self.films_a_shard)

    def shard_rows(self, number: int) -> np.ndarray:
        """Return the catalogue rows of one shard, int64 [n]."""
        start = number * self.films_a_shard
        return self.rows[start : start + self.films_a_shard]


def make_plan(
    catalog: Catalog, options: PrepareOptions, reader: str, films_a_shard: int | None = None
) -> Plan:
    """Return what the store will hold.

    Raises:
        OptionError: An option is not allowed, or no film is left.
    """
    preparation = options.preparation()
    left_out = (
        catalog.table["view_position"]
        .isin(choose(options.views, VIEWS, "choice of views"))
        .to_numpy(bool)
    )
    if left_out.all():
        raise OptionError(
            f"views is {options.views!r}, but none of the {len(left_out)} films has another view: use all."
        )
    excluded = dict(catalog.excluded)
    if left_out.any():
        excluded["lateral view"] = excluded.get("lateral view", 0) + int(left_out.sum())
    per_shard = films_a_shard or max(1, min(MOST_FILMS, MOST_BYTES // options.size**2))
    facts = {
        "catalogue": catalog_hash(catalog),
        "source": catalog.source,
        "films": len(left_out),
        **preparation.to_json(),
        "views": options.views,
        "max_pixels": options.max_pixels,
        "films_a_shard": per_shard,
        "reader": reader,
        **({"dedup": True} if options.dedup else {}),
    }
    return Plan(catalog, preparation, np.flatnonzero(~left_out), excluded, per_shard, facts)


def catalog_hash(catalog: Catalog) -> str:
    """Return a hex hash of all that the catalogue says, but for where its root lies."""
    digest = hashlib.sha256(
        pd.util.hash_pandas_object(catalog.table, index=False).to_numpy().tobytes()
    )
    facts = [
        catalog.source,
        list(catalog.findings),
        catalog.rows_read,
        sorted(catalog.excluded.items()),
    ]
    digest.update(json.dumps(facts).encode())
    return digest.hexdigest()


def refuse_other_plan(out: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise if a store was begun under another plan.

    Raises:
        RunError: With the difference.
    """
    found, wanted = {"dedup": False, **found}, {"dedup": False, **wanted}
    changed = [name for name in wanted if found.get(name) != wanted[name]]
    if not changed:
        return
    if changed == ["catalogue"]:
        difference = (
            f"the same number of films ({wanted['films']}), but other rows in the source's tables"
        )
    else:
        shown = [name for name in changed if name != "catalogue"]
        difference = ", ".join(
            f"{name} {found.get(name)!r} there, {wanted[name]!r} now" for name in shown
        )
    raise RunError(
        f"{out} holds another store: {difference}. Use the same again, or another --out."
    )
