"""The plan of a store, made before the first film is read: its rows, its shards, and its claim on the folder."""

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
from hilum.counts import counted
from hilum.errors import DataError, OptionError, RunError, choose
from hilum.files import read_hashed_json, refuse_links_out, write_hashed_json
from hilum.images.enhance import Preparation
from hilum.images.read import MAX_PIXELS
from hilum.images.rendering import DISPLAY
from hilum.images.store import MANIFEST
from hilum.options import take_fields
from hilum.version import __version__

VIEWS: dict[str, tuple[str, ...]] = {"all": (), "frontal": ("LATERAL",)}
"""View positions that each choice leaves out."""
UNKNOWN_VIEWS = {"drop": True, "keep": False}
"""Whether each choice leaves out films whose view cannot be told, where views are chosen."""
MOST_FILMS, MOST_BYTES = 2048, 2**26
"""Largest shard, in rows of the catalogue and in bytes: the work that a kill may cost."""
PLAN = "plan.json"
WORKPLACE = ".preparing"
"""Folder below the store for unfinished files."""


@dataclass(frozen=True)
class PrepareOptions:
    """How films become a store."""

    size: int
    """Side of the stored square in pixels."""
    enhance: str = "none"
    """none, paper (denoise, then equalise the histogram) or clahe."""
    fit: str = "squash"
    """squash (the aspect ratio is lost) or pad (black margins)."""
    fix_polarity: bool = False
    """Invert films back that look inverted, before anything else; they are flagged in either case."""
    rendering: str = DISPLAY.name
    """How DICOM samples become grey: display (what a viewer shows) or archive (stored values from
    the lowest to the highest, as MIMIC-CXR-JPG and CheXpert were made)."""
    polarity: str = DISPLAY.polarity
    """Which DICOM tag says which end is black: photometric (Photometric Interpretation) or shape
    (Presentation LUT Shape, where present)."""
    views: str = "all"
    """all or frontal (laterals left out)."""
    unknown_views: str = "drop"
    """With --views frontal: drop or keep films whose view cannot be told."""
    workers: int | None = None
    """Decoding processes; by default one a core. The store does not depend on it."""
    shard: str | None = None
    """i/n: prepare only the i-th of n parts; the last part to finish merges them."""
    dedup: bool = False
    """Search for near copies too, and keep copies out of different splits; nothing is deleted."""
    max_pixels: int = MAX_PIXELS
    """Films with more pixels fail."""
    keep_damaged: bool = False
    """Keep JPEGs whose decoder reports damaged data; they fail otherwise."""
    patience: float = 60.0
    """Seconds after which decoding a film counts as hung."""
    names_file: Path | None = None
    """CSV for your eyes alone: which film of the store is which file, and why other files are none;
    for sources whose store has pseudonyms."""

    def __post_init__(self) -> None:
        """Refuse limits that no film could keep.

        Raises:
            OptionError: A limit is not above 0.
            TypeError: The file for names is no path.
        """
        take_fields(self)
        if self.max_pixels < 1:
            raise OptionError(f"--max-pixels is {self.max_pixels}: allowed is 1 or more.")
        if not 0 < self.patience < float("inf"):
            raise OptionError(
                f"--patience is {self.patience}: allowed are seconds above 0, such as 60."
            )

    def preparation(self) -> Preparation:
        """Return the steps from a grey film to a stored one.

        Raises:
            OptionError: A size or a name is not allowed.
        """
        return Preparation(
            self.size, self.enhance, self.fit, self.fix_polarity, self.rendering, self.polarity
        )

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
        """Return the index of the part to prepare, from 0, and the number of parts.

        Raises:
            OptionError: Not of the form i/n with i from 1 to n.

        >>> PrepareOptions(64, shard="2/3").part()
        (1, 3)
        """
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", self.shard or "1/1")
        number, parts = map(int, match.groups()) if match else (0, 0)
        if not 1 <= number <= parts:
            raise OptionError(f"--shard is {self.shard!r}: give i/n with i from 1 to n, as in 2/8.")
        return number - 1, parts


@dataclass(frozen=True)
class Plan:
    """Which rows go into which shard of a folder.

    Shards are cut over the catalogue's rows, so that a film that fails moves no other.
    """

    out: Path
    """The store's folder."""
    catalog: Catalog
    preparation: Preparation
    rows: np.ndarray
    """Rows of the catalogue to be stored, int64 [N]."""
    excluded: dict[str, int]
    """Rows read that are not to be stored, by reason."""
    films_a_shard: int
    facts: dict[str, Any]
    """What must be equal for an unfinished store to be continued."""

    @property
    def workplace(self) -> Path:
        """The folder of unfinished files."""
        return self.out / WORKPLACE

    @property
    def dedup(self) -> bool:
        """Whether near copies are searched for."""
        return bool(self.facts.get("dedup", False))

    @property
    def shards(self) -> int:
        """The number of shards."""
        return -(-len(self.rows) // self.films_a_shard)

    def shard_rows(self, number: int) -> np.ndarray:
        """Return the catalogue rows of one shard, int64 [n]."""
        start = number * self.films_a_shard
        return self.rows[start : start + self.films_a_shard]

    def finished(self) -> dict[str, Any] | None:
        """Return the manifest of this plan's finished store, None if it is not finished.

        Raises:
            RunError: The folder holds the finished store of another plan.
        """
        manifest = self._read(self.out / MANIFEST)
        if manifest is None:
            return None
        if not isinstance(manifest.get("plan"), dict):
            raise self._unreadable(self.out / MANIFEST)
        self._refuse_other(manifest["plan"], self.facts)
        return manifest

    def claim(self) -> dict[str, Any] | None:
        """Take the folder for this plan, or continue in it; return the manifest if the store is finished.

        Raises:
            RunError: The folder holds another plan's store, something else, or a link that leads out of it.
            DataError: It cannot be written to.
        """
        try:
            refuse_links_out(self.out, [WORKPLACE, MANIFEST])
        except ValueError as error:
            raise RunError(f"{error}: give --out a new folder.") from error
        if (manifest := self.finished()) is not None:
            return manifest
        facts = {**self.facts, "version": __version__}
        begun = self._read(self.workplace / PLAN)
        if begun is not None:
            self._refuse_other(begun, facts)
            return None
        if self.out.exists() and (
            not self.out.is_dir()
            or any(not entry.name.startswith(".") for entry in self.out.iterdir())
        ):
            raise RunError(
                f"{self.out} holds something else than a store: give --out a new folder."
            )
        try:
            self.workplace.mkdir(parents=True, exist_ok=True)
            write_hashed_json(self.workplace / PLAN, facts)
        except OSError as error:
            raise DataError(
                f"cannot write to {self.out} ({error.strerror}): "
                "give --out a folder that can be written."
            ) from error
        return None

    def _read(self, file: Path) -> dict[str, Any] | None:
        try:
            return read_hashed_json(file)[0]
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as error:
            raise self._unreadable(file) from error

    def _unreadable(self, file: Path) -> RunError:
        return RunError(f"{file} cannot be read: delete {self.out} and prepare it again.")

    def _refuse_other(self, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        """Raise a RunError with the difference if a store was begun under another plan."""
        # Stores of earlier versions, and those of all views, kept films of unknown view.
        usual = {
            "dedup": False,
            "unknown_views": "keep",
            "fix_polarity": False,
            "rendering": DISPLAY.name,
            "polarity": DISPLAY.polarity,
        }
        begun, now = {**usual, **begun}, {**usual, **now}
        changed = [name for name in now if begun.get(name) != now[name]]
        if not changed:
            return
        if changed == ["catalogue"]:
            difference = (
                f"the same number of films ({now['films']}), but other rows in the source's tables"
            )
        else:
            difference = ", ".join(
                f"{name} {begun.get(name)!r} there, {now[name]!r} now"
                for name in changed
                if name != "catalogue"
            )
        raise RunError(
            f"{self.out} holds another store: {difference}. Use the same again, or another --out."
        )


def make_plan(
    out: Path,
    catalog: Catalog,
    options: PrepareOptions,
    reader: str,
    films_a_shard: int | None = None,
) -> Plan:
    """Return the plan of a store; nothing is written.

    Raises:
        OptionError: An option is not allowed, or no film is left.
    """
    preparation = options.preparation()
    positions = choose(options.views, VIEWS, "choice of views")
    left_out = catalog.table["view_position"].isin(positions).to_numpy(bool)
    excluded = dict(catalog.excluded)
    if left_out.any():
        excluded["lateral view"] = excluded.get("lateral view", 0) + int(left_out.sum())
    unknown = catalog.table["view_position"].isna().to_numpy(bool)
    drop = choose(options.unknown_views, UNKNOWN_VIEWS, "choice of unknown views")
    if positions and drop and unknown.any():
        excluded["unknown view"] = excluded.get("unknown view", 0) + int(unknown.sum())
        left_out = left_out | unknown
    if left_out.all():
        of_unknown = f" ({int(unknown.sum())} of unknown view)" if unknown.any() else ""
        raise OptionError(
            f"--views is {options.views!r}, but none of the "
            f"{counted(len(left_out), 'film')}{of_unknown} is known to be: "
            "use all, name the column of views, or give --unknown-views keep."
        )
    per_shard = films_a_shard or max(1, min(MOST_FILMS, MOST_BYTES // options.size**2))
    facts = {
        "catalogue": catalog_hash(catalog),
        "source": catalog.source,
        "films": len(left_out),
        **preparation.to_json(),
        "views": options.views,
        **({"unknown_views": options.unknown_views} if positions else {}),
        "max_pixels": options.max_pixels,
        "films_a_shard": per_shard,
        "reader": reader,
        **({"dedup": True} if options.dedup else {}),
    }
    return Plan(out, catalog, preparation, np.flatnonzero(~left_out), excluded, per_shard, facts)


def catalog_hash(catalog: Catalog) -> str:
    """Return a hex hash of a catalogue's content, whatever its root folder."""
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
