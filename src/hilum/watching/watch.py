"""A watched folder: each DICOM film that settles there is read once, and two results of it appear."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from hilum.counts import counted
from hilum.errors import OptionError, RunError
from hilum.group_key import GroupKey, made_key
from hilum.images.dicom.sniff import HEAD_BYTES, is_dicom
from hilum.images.unreadable import UnreadableFilm
from hilum.listener import SILENT, Listener
from hilum.options import as_path
from hilum.serving.decoders import Decoders, Undecodable
from hilum.serving.model import ServedModel, open_model
from hilum.training.interrupt import StopWish, stop_wish
from hilum.watching.ledger import RESULTS, Ledger, open_ledger
from hilum.watching.options import WatchOptions
from hilum.watching.reading import Reading, furthest
from hilum.watching.source_header import nothing_quoted, source_header
from hilum.watching.uids import result_uids

READ = "read"
CAPTURE, REPORT = "sc.dcm", "sr.dcm"
"""Endings of a film's two results."""
LARGEST = 1 << 30
"""Bytes of a film's file, at most."""


@dataclass(frozen=True)
class WatchResult:
    """How many films were read, and how many were not, by reason."""

    results: Path
    outcomes: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {"results": str(self.results), "outcomes": self.outcomes}


def watch(
    run: str | Path, folder: str | Path, options: WatchOptions, listener: Listener = SILENT
) -> WatchResult:
    """Read every film that comes into a folder, until SIGINT or SIGTERM.

    Nothing is changed in the folder. A film is known by a keyed hash of its SOP Instance UID and
    of the model, so that a copy, a new name or another start does not read it again.

    Args:
        run: A fine-tuned run or a bundle.
        folder: Folder that films come into, with folders below it.
        options: Where results go, and how often to look.
        listener: Gets a line for each film, with its pseudonym alone.

    Raises:
        OptionError: The folder is not there, or the results would come into it.
        RunError: The model or the ledger is damaged, or another process watches for this folder.
    """
    folder = as_path("folder", folder)
    if not folder.is_dir():
        raise OptionError(f"{folder} is no folder: give the one that films come into.")
    if options.out.resolve().is_relative_to(folder.resolve()):
        raise OptionError(
            f"--out {options.out} lies in {folder}, where its results would be read: give one elsewhere."
        )
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise OptionError(
            "hilum watch needs another package: pip install 'hilum[archive]'."
        ) from error
    model = open_model(as_path("run", run), options.device, None)
    for note in model.facts.notes:
        listener.note(note)
    with open_ledger(options.out) as ledger, stop_wish() as wish:
        watcher = _Watcher(model, made_key(options.out), ledger, options, listener)
        asyncio.run(watcher.run(folder, wish))
    return WatchResult(options.out / RESULTS, dict(watcher.outcomes.most_common()))


class _Watcher:
    """One watching of one folder."""

    def __init__(
        self,
        model: ServedModel,
        key: GroupKey,
        ledger: Ledger,
        options: WatchOptions,
        listener: Listener,
    ) -> None:
        self.model, self.key, self.ledger = model, key, ledger
        self.options, self.listener = options, listener
        self.outcomes: Counter[str] = Counter()
        self._seen: set[tuple[str, int, int]] = set()
        self._decoders = Decoders(
            model.facts.preparation,
            model.facts.size,
            1,
            keep=options.keep,
            patience=options.patience,
        )

    async def run(self, folder: Path, wish: StopWish) -> None:
        """Read films until a stop is asked for, or once."""
        await self._decoders.start()
        try:
            while True:
                for data in self._settled(folder):
                    await self._film(data)
                    if wish.asked:
                        return
                if self.options.once or wish.asked:
                    return
                await asyncio.sleep(self.options.every)
        finally:
            self._decoders.end()

    def _settled(self, folder: Path) -> Iterator[bytes]:
        """Yield the DICOM files that were not looked at before and change no more."""
        for file in sorted(folder.rglob("*")):
            try:
                if not file.is_file() or file.name.startswith("."):
                    continue
                state = file.stat()
                known = (str(file), state.st_mtime_ns, state.st_size)
                fresh = time.time() - state.st_mtime < self.options.settle
                if known in self._seen or (fresh and not self.options.once):
                    continue
                self._seen.add(known)
                with file.open("rb") as opened:
                    head = opened.read(HEAD_BYTES)
                    if not is_dicom(head):
                        self.outcomes["not DICOM"] += 1
                        continue
                    if state.st_size > LARGEST:
                        self.outcomes["too large"] += 1
                        continue
                    yield head + opened.read(LARGEST)
            except OSError:  # taken away meanwhile, or not ours to read
                self.outcomes["cannot be opened"] += 1

    async def _film(self, data: bytes) -> None:
        """Read one film, unless the ledger has it."""
        try:
            header = source_header(data)
        except UnreadableFilm as error:
            self._tell("film without identifiers", f"{error.reason}: {error.detail}")
            return
        named = f"{header.SOPInstanceUID} {self.model.facts.sha256}"
        (film,) = self.key.pseudonyms("film", [named.encode()])
        if film in self.ledger:
            self.outcomes["read before"] += 1
            return
        answer = await self._decoders.read(data)
        # Only a film that was read is written down: half a film may come whole, a refused one corrected.
        if isinstance(answer, Undecodable):
            outcome = f"unreadable: {answer.reason}"
        elif answer.refused:
            outcome = f"refused: {answer.refused}"
        else:
            outcome = READ
            reading = self._reading(answer.image(self.model.facts.preparation.size))
            self.ledger.add(film, READ, self._results(header, reading))
        self._tell(film, outcome)

    def _reading(self, image: np.ndarray) -> Reading:
        """Return what the model says of a prepared film.

        Raises:
            RunError: A score is not finite.
        """
        facts = self.model.facts
        logits = self.model.logits(image[None])[0].astype(np.float64)
        if not np.isfinite(logits).all():
            raise RunError("the model gave a score that is no number: its weights are damaged.")
        scores = 1.0 / (1.0 + np.exp(-logits))
        probabilities = dict(zip(facts.findings, scores.tolist(), strict=True))
        shown = furthest(probabilities, facts.thresholds)
        heat = None
        if shown:
            with suppress(OptionError):  # a bundle whose network has no exact maps
                heat = self.model.heatmap(image, facts.findings.index(shown))
        return Reading(
            probabilities,
            facts.thresholds,
            tuple(facts.called(probabilities)),
            image,
            heat,
            shown,
            facts.sha256,
        )

    def _results(self, header: Dataset, reading: Reading) -> dict[str, bytes]:
        """Return both results as files."""
        from hilum.watching.capture import secondary_capture  # highdicom: a second
        from hilum.watching.report import structured_report

        uids = result_uids(self.key, header.SOPInstanceUID, header.StudyInstanceUID, reading.model)
        files = {}
        with nothing_quoted():
            made = {
                CAPTURE: secondary_capture(header, reading, uids),
                REPORT: structured_report(header, reading, uids),
            }
            for ending, result in made.items():
                buffer = BytesIO()
                result.save_as(buffer, enforce_file_format=True)
                files[ending] = buffer.getvalue()
        return files

    def _tell(self, film: str, outcome: str) -> None:
        self.outcomes[outcome] += 1
        self.listener.note(f"{film}: {outcome} ({counted(len(self.ledger.films), 'film')} so far)")
