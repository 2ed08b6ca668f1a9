"""A watched folder, from an archive's films to results that it can file."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from hilum.errors import OptionError
from hilum.group_key import made_key
from hilum.images.unreadable import UnreadableFilm
from hilum.listener import Listener
from hilum.serving.model import open_model
from hilum.watching.capture import MARK, picture
from hilum.watching.ledger import open_ledger
from hilum.watching.options import WatchOptions
from hilum.watching.reading import Reading, furthest
from hilum.watching.source_header import nothing_quoted, source_header
from hilum.watching.watch import WatchResult, _Watcher, watch
from service_client import dicom

NAMES = ("Roe", "P1", "A1", "19500401", "1.2.9.", "1.2.7.")
"""What identifies the patient of `exports.Export`, in its films' headers."""


class Lines(Listener):
    """Keeps notes."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


def film_bytes(folder: Path, film: np.ndarray, number: int, **tags: Any) -> bytes:
    """Return a DICOM film with identifiers of its own."""
    own = {"SOPInstanceUID": f"1.2.9.{number}", "SeriesInstanceUID": f"1.2.8.{number}"}
    with nothing_quoted():
        return dicom(folder, film, **own, **tags)


@pytest.fixture
def incoming(tmp_path: Path, films: list[np.ndarray]) -> Path:
    """Two films, one of them twice, an inverted one, a torn one and a text."""
    folder = tmp_path / "incoming"
    (folder / "below").mkdir(parents=True)
    first = film_bytes(tmp_path / "made", films[0], 1)
    (folder / "Roe one").write_bytes(first)
    (folder / "below" / "again.dcm").write_bytes(first)
    (folder / "below" / "two").write_bytes(
        film_bytes(tmp_path / "made", films[1], 2, StudyTime="10:30", PatientSex="X", StudyID=None)
    )
    (folder / "negative.dcm").write_bytes(film_bytes(tmp_path / "made", 255 - films[2], 3))
    (folder / "torn.dcm").write_bytes(film_bytes(tmp_path / "made", films[3], 4)[:5000])
    (folder / "readme.txt").write_text("no film")
    return folder


@pytest.fixture
def run_watch(model_folder: Path, incoming: Path, tmp_path: Path) -> Callable[[], WatchResult]:
    options = WatchOptions(out=tmp_path / "out", once=True, device="cpu")
    return lambda: watch(model_folder, incoming, options)


def results(watched: WatchResult) -> list[Dataset]:
    return [dcmread(path) for path in sorted(watched.results.iterdir())]


def test_each_film_is_read_once_and_the_others_are_counted(
    run_watch: Callable[[], WatchResult], incoming: Path
) -> None:
    first = run_watch()
    assert first.outcomes == {
        "read": 2,
        "read before": 1,
        "refused: inverted": 1,
        "unreadable: truncated": 1,
        "not DICOM": 1,
    }
    before = {path.name: path.read_bytes() for path in first.results.iterdir()}
    assert len(before) == 4
    (incoming / "Roe one").rename(incoming / "renamed")
    again = run_watch()
    assert "read" not in again.outcomes
    assert again.outcomes["read before"] == 3
    assert again.outcomes["refused: inverted"] == 1
    assert {path.name: path.read_bytes() for path in first.results.iterdir()} == before


def test_a_torn_film_is_read_when_all_of_it_is_there(
    run_watch: Callable[[], WatchResult], incoming: Path, tmp_path: Path, films: list[np.ndarray]
) -> None:
    run_watch()
    (incoming / "torn.dcm").write_bytes(film_bytes(tmp_path / "made", films[3], 4))
    assert run_watch().outcomes["read"] == 1


def test_a_refused_film_is_read_when_it_comes_corrected(
    run_watch: Callable[[], WatchResult], incoming: Path, tmp_path: Path, films: list[np.ndarray]
) -> None:
    assert run_watch().outcomes["refused: inverted"] == 1
    right = film_bytes(tmp_path / "made", films[2], 3)  # of the same SOP Instance UID
    (incoming / "sent again.dcm").write_bytes(right)
    again = run_watch()
    assert (again.outcomes["read"], again.outcomes["refused: inverted"]) == (1, 1)


def test_results_go_to_the_films_patient_and_point_at_the_film(
    run_watch: Callable[[], WatchResult],
) -> None:
    watched = run_watch()
    for result in results(watched):
        assert str(result.PatientName) == "Roe^P1"
        assert (result.PatientID, result.StudyInstanceUID) == ("P1", "1.2.7.1")
        assert "unreviewed" in result.SeriesDescription
    capture, report = results(watched)[:2]
    assert capture.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert capture.ImageType == ["DERIVED", "SECONDARY"]
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID in ("1.2.9.1", "1.2.9.2")
    assert capture.pixel_array.shape == (capture.Rows, capture.Columns, 3)
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0]
    referenced = evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert referenced.ReferencedSOPInstanceUID in ("1.2.9.1", "1.2.9.2")
    uids = {result.SOPInstanceUID for result in results(watched)}
    assert len(uids) == 4
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)
    series = {result.SeriesInstanceUID for result in results(watched)}
    assert len(series) == 2  # both films are of one study


def test_the_report_holds_the_models_own_numbers(
    run_watch: Callable[[], WatchResult], model_folder: Path, films: list[np.ndarray]
) -> None:
    report = highdicom.sr.srread(next(run_watch().results.glob("*-sr.dcm")))
    groups = report.content.get_image_measurement_groups()
    found = {
        group.finding_type.meaning: {
            entry.name.meaning: entry.value for entry in group.get_measurements()
        }
        for group in groups
    }
    model = open_model(model_folder, "cpu", 1)
    preparation = model.facts.preparation
    images = np.stack([preparation.apply(film) for film in films[:2]])
    expected = 1 / (1 + np.exp(-model.logits(images).astype(np.float64)))
    reported = [found["Pulmonary edema"]["Probability"], found["Mass"]["Probability"]]
    assert np.abs(expected - reported).max(axis=1).min() <= 1e-5
    assert found["Pulmonary edema"]["Threshold of the model"] == 0.25
    assert "Threshold of the model" not in found["Mass"]
    assert (report.CompletionFlag, report.VerificationFlag) == ("PARTIAL", "UNVERIFIED")


def test_names_are_in_the_results_alone(model_folder: Path, incoming: Path, tmp_path: Path) -> None:
    told = Lines()
    out = tmp_path / "out"
    watched = watch(model_folder, incoming, WatchOptions(out=out, once=True, device="cpu"), told)
    others = [path for path in out.rglob("*") if path.is_file() and path.parent != watched.results]
    texts = [path.read_text("utf-8") for path in others] + [*told.lines, str(watched.to_json())]
    texts += [path.name for path in out.rglob("*")]
    assert len(told.lines) == 5  # one of the model, one for each film
    for text in texts:
        assert not [name for name in NAMES if name in text.replace(str(tmp_path), "")]


def test_the_mark_is_burnt_in_and_a_called_finding_has_its_heatmap() -> None:
    film = np.full((64, 64), 80, np.uint8)
    probabilities = {"Edema": 0.7, "Mass": 0.9}
    thresholds = {"Edema": 0.5, "Mass": None}
    shown = furthest(probabilities, thresholds)
    assert shown == "Edema"
    heat = np.zeros((64, 64), np.float32)
    heat[:32] = 1
    plain = Reading(probabilities, thresholds, (), film, None, "", "0" * 64)
    called = Reading(probabilities, thresholds, ("Edema",), film, heat, shown, "0" * 64)
    first, second = picture(plain), picture(called)
    assert second.shape[1] > first.shape[1]
    red = (first[:, :, 0] > 200) & (first[:, :, 1] < 140)
    assert red[-72:].any()  # the notice below
    assert red[48:100].any()  # the mark in the film
    assert MARK == "RESEARCH, UNREVIEWED"


def test_a_film_without_identifiers_has_no_result(tmp_path: Path, films: list[np.ndarray]) -> None:
    for missing in ("StudyInstanceUID", "SeriesInstanceUID"):
        with pytest.raises(UnreadableFilm, match=missing):
            source_header(dicom(tmp_path, films[0], **{missing: None}))
    odd = {"PatientName": None, "StudyDate": "2020", "PatientBirthDate": None}
    header = source_header(film_bytes(tmp_path, films[0], 1, **odd))
    assert (header.PatientName, header.StudyDate, header.PatientBirthDate) == ("", "", "")
    assert header.AccessionNumber == "A1"
    with pytest.raises(UnreadableFilm):
        source_header(BytesIO(b"\0" * 200).read())


def test_results_never_come_into_the_watched_folder(model_folder: Path, incoming: Path) -> None:
    with pytest.raises(OptionError, match="lies in"):
        watch(model_folder, incoming, WatchOptions(out=incoming / "out", once=True))
    with pytest.raises(OptionError, match="no folder"):
        watch(model_folder, incoming / "none", WatchOptions(out=incoming.parent / "out"))
    assert not (incoming / "out").exists()


@pytest.mark.parametrize("values", [{"every": 0.0}, {"settle": -1.0}, {"every": 1e9}])
def test_options_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        WatchOptions(out=Path("out"), **values)


def test_a_film_that_still_grows_waits(model_folder: Path, incoming: Path, tmp_path: Path) -> None:
    with open_ledger(tmp_path / "out") as ledger:
        options = WatchOptions(out=tmp_path / "out", settle=60.0, device="cpu")
        watcher = _Watcher(
            open_model(model_folder, "cpu", 1),
            made_key(tmp_path / "out"),
            ledger,
            options,
            Listener(),
        )
        assert list(watcher._settled(incoming)) == []
        for file in incoming.rglob("*"):
            os.utime(file, (1e9, 1e9))
        assert len(list(watcher._settled(incoming))) == 5
        assert list(watcher._settled(incoming)) == []
