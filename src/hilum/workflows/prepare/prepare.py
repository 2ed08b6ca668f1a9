"""From a catalogue to a store: every film decoded, enhanced and packed once, on all cores, resumed after a kill."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from hilum.catalog import Catalog
from hilum.errors import DataError, RunError
from hilum.files import write_json
from hilum.images.store import (
    MANIFEST,
    Store,
    make_manifest,
    stored_table,
    write_failures,
    write_table,
)
from hilum.listener import SILENT, Listener
from hilum.version import __version__
from hilum.workflows.prepare.divide import divide_store
from hilum.workflows.prepare.plan import (
    PLAN,
    WORKPLACE,
    Plan,
    PrepareOptions,
    make_plan,
    refuse_other_plan,
)
from hilum.workflows.prepare.pool import Job, Pool, Setup
from hilum.workflows.prepare.shards import OpenShard, ShardRecord, read_record, unfinished
from hilum.workflows.prepare.worker import DEFAULT_READER

__all__ = ["PrepareOptions", "PrepareResult", "prepare"]

ROW_BYTES = 1024
"""What a film's row in the table and in the records may take on disk, generously."""


@dataclass(frozen=True)
class PrepareResult:
    """What became of the rows.

    Once complete, ``rows_read == rows_kept + sum(rows_excluded.values()) +
    sum(rows_failed.values())``.
    """

    store: Path
    complete: bool
    """False while other parts (`--shard i/n`) are still to be done; then nothing is counted yet."""
    already_done: bool
    """True where there was nothing left to do."""
    rows_read: int
    rows_kept: int
    rows_excluded: dict[str, int]
    rows_failed: dict[str, int]
    copies: dict[str, int] = field(default_factory=dict)
    """With ``dedup``: pairs of copies, exact and near, those between patients, and films left out
    of the parts."""


def prepare(
    catalog: Catalog,
    out: Path,
    options: PrepareOptions,
    listener: Listener = SILENT,
    *,
    reader: str = "",
    films_a_shard: int | None = None,
) -> PrepareResult:
    """Write the catalogue's films as a store, with its split; resume an unfinished one.

    The same catalogue and options give the same bytes, whatever the number of processes, parts,
    kills and resumes.

    Args:
        catalog: What the source says.
        out: The store's folder; new, empty, or begun under the same options.
        options: How films are prepared.
        listener: Hears the disk space needed, and progress in films.
        reader: ``module:function`` from a path and a pixel cap to a grey film, which the decoding
            processes import; the catalogue's own unless told.
        films_a_shard: Catalogue rows a shard, chosen by size unless told.

    Raises:
        OptionError: An option is not allowed.
        RunError: ``out`` holds something else, or another process is writing it.
        DataError: The disk is too small, or not one film can be read.
    """
    out = Path(out)
    reader = reader or catalog.reader or DEFAULT_READER
    part, parts = options.part()
    workers = options.worker_count()
    plan = make_plan(catalog, options, reader, films_a_shard)
    if (manifest := _finished(out, plan)) is not None:
        return _result(out, plan, manifest, already_done=True)
    _claim(out, plan)
    mine = range(part, plan.shards, parts)
    missing = unfinished(out, plan, mine)
    _check_disk(out, plan, missing, listener)
    if missing:
        setup = Setup(
            catalog.root, reader, plan.preparation.to_json(), options.max_pixels, options.patience
        )
        _fill(out, plan, mine, missing, setup, workers, listener)
    return _result(out, plan, _merge(out, plan, listener), already_done=False)


def _finished(out: Path, plan: Plan) -> dict[str, Any] | None:
    """Return the manifest of a finished store, None if there is none.

    Raises:
        RunError: It is the store of another plan.
    """
    try:
        manifest = json.loads((out / MANIFEST).read_bytes())
        facts = dict(manifest["plan"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{out / MANIFEST} cannot be read: delete {out} and prepare it again."
        ) from error
    refuse_other_plan(out, facts, plan.facts)
    return dict(manifest)


def _claim(out: Path, plan: Plan) -> None:
    """Make the folder this plan's, or see that it is.

    Raises:
        RunError: It holds something else.
    """
    wanted = {**plan.facts, "version": __version__}
    try:
        found = json.loads((out / WORKPLACE / PLAN).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        found = None
    except ValueError as error:
        raise RunError(
            f"{out / WORKPLACE / PLAN} cannot be read: delete {out} and prepare it again."
        ) from error
    if found is not None:
        refuse_other_plan(out, found, wanted)
        return
    if out.exists() and (
        not out.is_dir() or any(not entry.name.startswith(".") for entry in out.iterdir())
    ):
        raise RunError(f"{out} holds something else than a store: give --out a new folder.")
    try:
        (out / WORKPLACE).mkdir(parents=True, exist_ok=True)
        write_json(out / WORKPLACE / PLAN, wanted)
    except OSError as error:
        raise DataError(
            f"cannot write to {out} ({error.strerror}): give --out a folder that can be written."
        ) from error


def _check_disk(out: Path, plan: Plan, missing: Sequence[int], listener: Listener) -> None:
    """Say how much disk the shards still to be done need.

    Raises:
        DataError: There is less.
    """
    films = sum(len(plan.shard_rows(number)) for number in missing)
    need, free = films * (plan.preparation.size**2 + ROW_BYTES), shutil.disk_usage(out).free
    listener.note(
        f"{films} films at {plan.preparation.size} px need {_megabytes(need)} in {out}, {_megabytes(free)} free"
    )
    if need > free:
        raise DataError(
            f"{films} films at {plan.preparation.size} px need {_megabytes(need)} in {out}, but only "
            f"{_megabytes(free)} are free: make room, choose a smaller --size or another --out."
        )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


class _Progress:
    """Counts films and tells the listener."""

    def __init__(self, total: int, done: int, listener: Listener) -> None:
        self._total, self._done, self._failed, self._listener = total, done, 0, listener

    def add(self, films: int, failed: int) -> None:
        self._done += films
        self._failed += failed
        detail = f"{self._failed} failed" if self._failed else ""
        self._listener.progress("prepare", self._done, self._total, detail)


def _fill(
    out: Path,
    plan: Plan,
    mine: Sequence[int],
    missing: Sequence[int],
    setup: Setup,
    workers: int,
    listener: Listener,
) -> None:
    """Do the missing shards. Finishing one (hash, flush) goes on beside the decoding of the next."""
    films = [sum(len(plan.shard_rows(number)) for number in numbers) for numbers in (mine, missing)]
    progress = _Progress(films[0], films[0] - films[1], listener)
    bench = _Bench(out, plan, missing)
    finishing: list[Future[None]] = []
    try:
        with (
            Pool(min(workers, films[1]), setup) as pool,
            ThreadPoolExecutor(1) as finisher,
        ):
            for job, outcomes in pool.run(bench.next_job):
                progress.add(len(outcomes), sum(outcome.pixels is None for outcome in outcomes))
                shard = bench.open[job.shard]
                if shard.add(job.start, outcomes):
                    finishing.append(finisher.submit(bench.open.pop(job.shard).finish))
                    _raise_first(finishing)
        for future in finishing:
            future.result()
    except OSError as error:
        raise DataError(
            f"cannot write {out} ({error.strerror}). Mend that and run the same again: it resumes."
        ) from error
    finally:
        bench.close()


def _raise_first(futures: list[Future[None]]) -> None:
    for future in futures:
        if future.done():
            future.result()


class _Bench:
    """The shards that are open at the moment, opened one after the other as jobs are asked for."""

    def __init__(self, out: Path, plan: Plan, missing: Sequence[int]) -> None:
        self._out, self._plan, self._missing = out, plan, list(missing)
        self._latest: OpenShard | None = None
        self.open: dict[int, OpenShard] = {}

    def next_job(self, most: int) -> Job | None:
        """Return the next films to be decoded, of at most that number; None when all are given out."""
        job = self._latest.next_job(most) if self._latest else None
        if job is None and self._missing:
            self._latest = OpenShard(self._out, self._plan, self._missing.pop(0))
            self.open[self._latest.number] = self._latest
            job = self._latest.next_job(most)
        return job

    def close(self) -> None:
        """Let go of what is not finished."""
        for shard in self.open.values():
            shard.close()


def _merge(out: Path, plan: Plan, listener: Listener) -> dict[str, Any] | None:
    """Write table, failures, split and manifest if all shards are there; return the manifest, None if some are missing.

    Two processes may do this at the same time: they write the same bytes.

    Raises:
        DataError: Not one film could be read.
    """
    records = [read_record(out, plan, number) for number in range(plan.shards)]
    whole = [record for record in records if record is not None]
    if len(whole) < len(records) or (out / MANIFEST).exists():
        return _finished(out, plan)
    failures = _failures(plan, whole)
    write_failures(
        out,
        [
            (row, path, f"{reason}: {detail}" if detail else reason)
            for row, path, reason, detail in failures
        ],
    )
    failed = dict(Counter(reason for _, _, reason, _ in failures).most_common())
    if len(failures) == len(plan.rows):
        reasons = ", ".join(f"{count} {reason}" for reason, count in failed.items())
        raise DataError(
            f"not one of {len(failures)} films can be read ({reasons}; {out / 'failures.csv'} has each): "
            f"mend them, delete {out} and prepare again."
        )
    table = _stored_table(plan, whole)
    write_table(out, table)
    shards = [record["shard"] for record in whole]
    facts = {"plan": plan.facts, "hilum": __version__}
    manifest = make_manifest(plan.catalog, plan.preparation, shards, plan.excluded, failed, **facts)
    copies = divide_store(Store(out, manifest, table), plan.dedup, listener)
    write_json(out / MANIFEST, {**manifest, "copies": copies} if plan.dedup else manifest)
    shutil.rmtree(out / WORKPLACE, ignore_errors=True)
    return _finished(out, plan)


def _stored_table(plan: Plan, records: Sequence[ShardRecord]) -> pd.DataFrame:
    """Return the catalogue rows that have a stored film, with its pixel hash and the size it came in."""
    pixels = [film for record in records for film in record["pixels"]]
    sizes = [size for record in records for size in record["sizes"]]
    kept = [(place, name) for place, name in enumerate(pixels) if name is not None]
    places = [place for place, _ in kept]
    table = plan.catalog.table.iloc[plan.rows[places]]
    return stored_table(table, [name for _, name in kept], [sizes[place] for place in places])


def _failures(plan: Plan, records: Sequence[ShardRecord]) -> list[tuple[int, str, str, str]]:
    """Return catalogue row, path, reason and detail of each film that failed."""
    paths = plan.catalog.table["path"]
    found = []
    for number, record in enumerate(records):
        rows = plan.shard_rows(number)
        for place, reason, detail in record["failures"]:
            found.append((int(rows[place]), str(paths.iloc[rows[place]]), reason, detail))
    return found


def _result(
    out: Path, plan: Plan, manifest: dict[str, Any] | None, already_done: bool
) -> PrepareResult:
    if manifest is None:
        return PrepareResult(out, False, already_done, plan.catalog.rows_read, 0, {}, {})
    counts = (
        manifest["rows_read"],
        manifest["rows_kept"],
        manifest["rows_excluded"],
        manifest["rows_failed"],
    )
    return PrepareResult(out, True, already_done, *counts, manifest.get("copies", {}))
