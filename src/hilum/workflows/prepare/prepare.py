"""From a catalogue to a store: films decoded, enhanced and packed on all cores, resumable."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from hilum.catalog import Catalog
from hilum.counts import counted
from hilum.duplicates.stored import read_duplicates
from hilum.errors import DataError
from hilum.group_key import made_key
from hilum.images.decoding.pool import Job, Pool, Setup
from hilum.images.decoding.worker import DEFAULT_READER
from hilum.images.film_check import is_inverted
from hilum.images.read import KEEPING_READER
from hilum.images.store import FLAGGED_ROWS, MANIFEST, Store
from hilum.images.store_writing import (
    FLAGGED,
    MISSING,
    make_manifest,
    stored_table,
    write_failures,
    write_flagged,
    write_manifest,
    write_missing,
    write_table,
)
from hilum.listener import SILENT, Listener
from hilum.options import as_path
from hilum.splits import Split
from hilum.version import __version__
from hilum.workflows.prepare.divide import divide_store
from hilum.workflows.prepare.plan import Plan, PrepareOptions, make_plan
from hilum.workflows.prepare.pseudonyms import pseudonymous, refuse_names_file, write_names
from hilum.workflows.prepare.shards import OpenShard, read_record, unfinished

__all__ = ["PrepareOptions", "PrepareResult", "prepare"]

DICOM_LIBRARIES = ("pydicom", "imagecodecs")
"""Read and decode DICOM files; the manifest names their versions, without importing them here."""
ROW_BYTES = 1024
"""Generous size on disk of a film's row in the table and in the records."""


@dataclass(frozen=True)
class PrepareResult:
    """Counts of the source's rows: read, kept, excluded, failed.

    Once complete, ``rows_read == rows_kept + sum(rows_excluded.values()) +
    sum(rows_failed.values())``.
    """

    store: Path
    complete: bool
    """False while other parts (`--shard i/n`) are missing; then nothing is counted yet."""
    already_done: bool
    """True where the store was finished before."""
    rows_read: int
    rows_kept: int
    rows_excluded: dict[str, int]
    rows_failed: dict[str, int]
    flagged: dict[str, int] = field(default_factory=dict)
    """Films kept that look inverted or turned, by what they look like."""
    copies: dict[str, int] = field(default_factory=dict)
    """With ``dedup``: pairs of copies, exact and near, those between patients, and films left out
    of all splits."""


def prepare(
    catalog: Catalog,
    out: str | Path,
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
        catalog: The source's films and labels.
        out: The store's folder; new, empty, or begun under the same options.
        options: How films are prepared.
        listener: Gets the disk space needed, and progress in films.
        reader: ``module:function`` from a path and a pixel limit to a grey film, imported by the
            decoding processes; by default the catalogue's own.
        films_a_shard: Catalogue rows a shard; by default chosen by size.

    Raises:
        OptionError: An option is not allowed.
        RunError: ``out`` holds something else, or another process is writing it.
        DataError: The disk is too small, or not one film can be read.
    """
    usual = KEEPING_READER if options.keep_damaged else DEFAULT_READER
    reader = reader or catalog.reader or usual
    part, parts = options.part()
    workers = options.worker_count()
    out = as_path("out", out)
    if not catalog.source:
        key = made_key(out)
        name = catalog.root.resolve().name.encode(errors="surrogateescape")
        catalog = replace(catalog, source=f"folder-{key.pseudonyms('source', [name])[0][:8]}")
    names_file = options.names_file
    if names_file is not None:
        refuse_names_file(names_file, out, catalog)
    named = catalog
    if catalog.archive is not None:
        catalog = pseudonymous(catalog, made_key(out))
    plan = make_plan(out, catalog, options, reader, films_a_shard)
    manifest = plan.claim()
    if names_file is not None:
        write_names(names_file, named, made_key(out))
        listener.note(f"{names_file} says which film is which file: keep it to yourself")
    if manifest is not None:
        for note in verified(plan.out).notes:
            listener.note(note)
        return _result(plan, manifest, already_done=True)
    made_key(out)  # beside the first store of a group
    setup = Setup(
        catalog.root, reader, plan.preparation.to_json(), options.max_pixels, options.patience
    )
    _decode(plan, range(part, plan.shards, parts), workers, setup, listener)
    return _result(plan, _merge(plan, listener), already_done=False)


def _decode(
    plan: Plan, numbers: Sequence[int], workers: int, setup: Setup, listener: Listener
) -> None:
    """Decode the films of these shards that are not done yet, in processes of their own."""
    missing = unfinished(plan, numbers)
    total, left = (
        sum(len(plan.shard_rows(number)) for number in shards) for shards in (numbers, missing)
    )
    _check_disk(plan, left, listener)
    if not missing:
        return
    workers = min(workers, left)
    listener.device(f"cpu, {workers} decoding {'process' if workers == 1 else 'processes'}")

    def lost(film: Job | None, how: str) -> None:
        at = "between films"
        if film is not None:
            row = plan.shard_rows(film.shard)[film.start]
            at = f"at {plan.catalog.table['path'].iloc[row]}"
        listener.note(f"a decoding process has ended {at} ({how}): another goes on in its place")

    with Pool(workers, setup, lost) as pool:
        _write_shards(plan, missing, pool, _Progress(total, total - left, listener))


def verified(folder: Path) -> Store:
    """Open a store and read all of it.

    Raises:
        DataError: A file of it is not what was written.
    """
    store = Store.open(folder)
    store.verify()
    Split.load(folder)
    read_duplicates(store)
    return store


def _check_disk(plan: Plan, films: int, listener: Listener) -> None:
    """Note how much disk space so many films need.

    Raises:
        DataError: There is less.
    """
    need, free = films * (plan.preparation.size**2 + ROW_BYTES), shutil.disk_usage(plan.out).free
    needs = (
        f"{counted(films, 'film')} at {plan.preparation.size} px "
        f"{'needs' if films == 1 else 'need'} {need / 1e6:,.1f} MB in {plan.out}"
    )
    listener.note(f"{needs}, {free / 1e6:,.1f} MB free")
    if need > free:
        raise DataError(
            f"{needs}, but only {free / 1e6:,.1f} MB are free: make room, choose a smaller --size "
            "or another --out."
        )


class _Progress:
    """Counts films for the listener."""

    def __init__(self, total: int, done: int, listener: Listener) -> None:
        self._total, self._done, self._failed, self._listener = total, done, 0, listener

    def begin(self) -> None:
        self._listener.progress("prepare", self._done, self._total)

    def add(self, films: int, failed: int) -> None:
        self._done += films
        self._failed += failed
        detail = f"{self._failed} failed" if self._failed else ""
        self._listener.progress("prepare", self._done, self._total, detail)


def _write_shards(plan: Plan, missing: Sequence[int], pool: Pool, progress: _Progress) -> None:
    """Decode the missing shards' films; a thread hashes and flushes each full shard meanwhile."""
    finishing: list[Future[None]] = []
    try:
        with (
            closing(_OpenShards(plan, missing, pool.jobs)) as shards,
            ThreadPoolExecutor(1) as finisher,
        ):
            progress.begin()
            for job, outcomes in pool.run(shards.next_job):
                progress.add(len(outcomes), sum(outcome.pixels is None for outcome in outcomes))
                if shards.open[job.shard].add(job.start, outcomes):
                    finishing.append(finisher.submit(shards.open.pop(job.shard).finish))
                    for future in finishing:
                        if future.done():
                            future.result()  # raises what went wrong there
        for future in finishing:
            future.result()
    except OSError as error:
        raise DataError(
            f"cannot write {plan.out} ({error.strerror}). Mend that and run the same again: it resumes."
        ) from error


class _OpenShards:
    """The shards being written, opened one after the other as jobs are asked for."""

    def __init__(self, plan: Plan, missing: Sequence[int], jobs: int) -> None:
        """Open the first; ``jobs`` are held at once."""
        self._plan, self._missing, self._jobs = plan, list(missing), jobs
        self._left = sum(len(plan.shard_rows(number)) for number in missing)
        self.open: dict[int, OpenShard] = {}
        self._latest = self._open_next()

    def next_job(self, most: int) -> Job | None:
        """Return the next films to decode, at most that number; None when all are sent.

        The last jobs are ever smaller, so that all processes end together.
        """
        most = min(most, max(1, self._left // (2 * self._jobs)))
        job = self._latest.next_job(most)
        if job is None and self._missing:
            self._latest = self._open_next()
            job = self._latest.next_job(most)
        self._left -= len(job.paths) if job is not None else 0
        return job

    def close(self) -> None:
        """Close those that are not finished."""
        for shard in self.open.values():
            shard.close()

    def _open_next(self) -> OpenShard:
        shard = OpenShard(self._plan, self._missing.pop(0))
        self.open[shard.number] = shard
        return shard


def _merge(plan: Plan, listener: Listener) -> dict[str, Any] | None:
    """Write table, failures, split and manifest once all shards exist; return the manifest or None.

    Two processes may do this at the same time: they write the same bytes.

    Raises:
        DataError: Not one film could be read.
    """
    out = plan.out
    records = [read_record(plan, number) for number in range(plan.shards)]
    whole = [record for record in records if record is not None]
    if len(whole) < len(records) or (out / MANIFEST).exists():
        return plan.finished()
    failed = _list_failed(plan, whole, listener)
    pixels = [film for record in whole for film in record["pixels"]]
    sizes = [size for record in whole for size in record["sizes"]]
    kept = [index for index, film in enumerate(pixels) if film is not None]
    table = stored_table(
        plan.catalog.table.iloc[plan.rows[kept]],
        [film for film in pixels if film is not None],
        [sizes[index] for index in kept],
    )
    write_table(out, table)
    shards = [record["shard"] for record in whole]
    flags = [flag for record in whole for flag in record["flags"]]
    flagged = _list_flagged(plan, table["path"], [flags[index] for index in kept], listener)
    odd = Counter(note for record in whole for film in record["notes"] for note in film)
    for note, count in odd.most_common():
        listener.note(f"{counted(count, 'DICOM file')}: {note}")
    facts = {
        "plan": plan.facts,
        **flagged,
        "odd": dict(odd.most_common()),
        "libraries": {
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            **{name: version(name) for name in DICOM_LIBRARIES},
        },
        "hilum": __version__,
    }
    manifest = make_manifest(plan.catalog, plan.preparation, shards, plan.excluded, failed, **facts)
    copies = divide_store(Store(out, manifest, table), plan.dedup, listener)
    write_manifest(out, {**manifest, "copies": copies} if plan.dedup else manifest)
    shutil.rmtree(plan.workplace, ignore_errors=True)
    return plan.finished()


def _list_failed(
    plan: Plan, records: Sequence[Mapping[str, Any]], listener: Listener
) -> dict[str, int]:
    """Write ``failures.csv``, and ``missing.csv`` where films are; return the failed films by reason.

    Raises:
        DataError: Not one film could be read.
    """
    failures, reasons_failed = [], Counter[str]()
    paths = plan.catalog.table["path"]
    for number, record in enumerate(records):
        rows = plan.shard_rows(number)
        for index, reason, detail in record["failures"]:
            row = int(rows[index])
            failures.append(
                (row, str(paths.iloc[row]), f"{reason}: {detail}" if detail else reason)
            )
            reasons_failed[reason] += 1
    write_failures(plan.out, failures)
    if plan.catalog.missing:
        write_missing(plan.out, plan.catalog.missing)
        listener.note(f"{plan.out / MISSING} lists the films that are not on disk")
    failed = dict(reasons_failed.most_common())
    if len(failures) == len(plan.rows):
        reasons = ", ".join(f"{count} {reason}" for reason, count in failed.items())
        raise DataError(
            f"not one of {counted(len(failures), 'film')} can be read ({reasons}; "
            f"{plan.out / 'failures.csv'} has each): mend them, delete {plan.out} and prepare again."
        )
    return failed


def _list_flagged(
    plan: Plan, paths: pd.Series[str], flags: Sequence[str], listener: Listener
) -> dict[str, dict[str, Any]]:
    """Write ``flagged.csv`` where a film looks inverted or turned; return the manifest's counts and rows of these."""
    fixed = plan.preparation.fix_polarity
    listed = [
        (row, path, flag, "inverted back" if fixed and is_inverted(flag) else "")
        for row, (path, flag) in enumerate(zip(paths, flags, strict=True))
        if flag
    ]
    if listed:
        write_flagged(plan.out, listed)
        listener.note(f"{plan.out / FLAGGED} lists the films that look inverted or turned")
    counts = dict(Counter(flag for _, _, flag, _ in listed).most_common())
    rows = {flag: [row for row, _, own, _ in listed if own == flag] for flag in counts}
    return {"flagged": counts, **({FLAGGED_ROWS: rows} if rows else {})}


def _result(plan: Plan, manifest: dict[str, Any] | None, *, already_done: bool) -> PrepareResult:
    if manifest is None:
        return PrepareResult(plan.out, False, already_done, plan.catalog.rows_read, 0, {}, {})
    return PrepareResult(
        plan.out,
        True,
        already_done,
        manifest["rows_read"],
        manifest["rows_kept"],
        manifest["rows_excluded"],
        manifest["rows_failed"],
        manifest.get("flagged", {}),
        manifest.get("copies", {}),
    )
