"""Readers' verdicts: a table of labels that training takes; one row a film and reader, never half a line."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.cli.app import main
from hilum.errors import DataError, OptionError
from hilum.images.films import Films
from hilum.serving.model import ServedModel
from hilum.serving.verdicts import FIXED, Verdict, VerdictTable
from service_client import Client, dicom

FINDINGS = ("Edema", "Mass")
ONE = "0" * 63 + "1"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def sent(film: bytes, labels: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"film": hashlib.sha256(film).hexdigest(), "labels": labels, **more}


def form(film: bytes, verdict: dict[str, Any]) -> dict[str, Any]:
    return {"files": {"film": film}, "data": {"verdict": json.dumps(verdict)}}


@pytest.fixture
def desk(
    serving: Callable[..., Client], model: ServedModel, tmp_path: Path
) -> Callable[..., tuple[Client, Path]]:
    """Start a service that keeps verdicts."""

    def start(**options: Any) -> tuple[Client, Path]:
        path = tmp_path / "collected" / "verdicts.csv"
        table = VerdictTable(path, model.facts.findings)
        return serving(model, verdicts=path, table=table, **options), path

    return start


def test_a_verdict_becomes_a_row_and_what_is_stated_later_takes_its_place(
    desk: Callable[..., tuple[Client, Path]], pngs: list[bytes]
) -> None:
    service, path = desk()
    assert service.get("/v1/model").json()["verdicts"] == {"films": False}
    first = service.post(
        "/v1/verdicts", json=sent(pngs[0], {"Edema": "present", "Mass": "uncertain"})
    )
    assert first.status_code == 200, first.text
    assert first.json()["labels"] == {"Edema": "present", "Mass": "uncertain"}
    for _ in range(2):  # sent twice, it counts once
        answer = service.post(
            "/v1/verdicts", json=sent(pngs[0], {"Edema": "absent", "Mass": None})
        ).json()
    assert answer["labels"] == {"Edema": "absent"}
    service.post("/v1/verdicts", json=sent(pngs[0], {"Mass": "present"}, reader="B.2"))
    table = rows(path)
    assert [(row["reader"], row["Edema"], row["Mass"]) for row in table] == [
        ("reader", "0", ""),
        ("B.2", "", "1"),
    ]
    assert {row["film"] for row in table} == {f"films/{hashlib.sha256(pngs[0]).hexdigest()}.png"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not (path.parent / "films").exists()
    assert service.post("/v1/verdicts", json=sent(pngs[0], {"Edema": None})).json()["labels"] == {}
    assert [row["reader"] for row in rows(path)] == ["B.2"]


def test_patients_are_pseudonyms_and_equal_for_all_rows_of_a_film(
    desk: Callable[..., tuple[Client, Path]], pngs: list[bytes]
) -> None:
    service, path = desk()
    service.post("/v1/verdicts", json=sent(pngs[0], {"Edema": "present"}))
    for film, reader in ((pngs[0], "B"), (pngs[1], "reader")):
        body = sent(film, {"Edema": "absent"}, reader=reader, patient="Roe, Jane 1970")
        assert service.post("/v1/verdicts", json=body).status_code == 200
    assert len({row["patient"] for row in rows(path)}) == 1
    kept = b"".join(file.read_bytes() for file in path.parent.rglob("*") if file.is_file())
    assert b"Roe" not in kept
    assert "Roe" not in "".join(service.log) + service.get("/metrics").text


NO_VERDICTS = (
    (b"", 422, "the JSON itself"),
    (b"{", 422, "the JSON itself"),
    (b"[" * 5000, 422, "the JSON itself"),
    (b" " * (2**16 + 1), 413, "65536"),
    ({"film": "xyz"}, 422, "film, labels"),
    ({"film": ONE.upper() + "A", "labels": {"Edema": "present"}}, 422, "film"),
    ({"film": ONE, "labels": {}}, 422, "labels"),
    ({"film": ONE, "labels": {"Edema": 1}}, 422, "labels"),
    ({"film": ONE, "labels": {"Edema": "Jane"}}, 422, "labels"),
    ({"film": ONE, "labels": {"Edema": "present"}, "reader": "=1+1"}, 422, "reader"),
    ({"film": ONE, "labels": {"Edema": "present"}, "patient": ""}, 422, "patient"),
    ({"film": ONE, "labels": {"Edema": "present"}, "Jane": 1}, 422, "the JSON itself"),
    ({"film": ONE, "labels": {"Jane": "present"}}, 422, "allowed are Edema, Mass"),
)


def test_what_is_no_verdict_is_refused_and_changes_nothing(
    desk: Callable[..., tuple[Client, Path]],
) -> None:
    service, path = desk()
    before = path.read_bytes()
    for content, status, names in NO_VERDICTS:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        answer = service.post("/v1/verdicts", content=body)
        assert (answer.status_code, path.read_bytes()) == (status, before), content
        assert names in answer.json()["error"]["message"]
        assert "Jane" not in answer.text


def test_no_verdicts_are_taken_unless_asked_for(client: Client, pngs: list[bytes]) -> None:
    answer = client.post("/v1/verdicts", json=sent(pngs[0], {"Edema": "present"}))
    assert answer.status_code == 404
    assert client.get("/v1/model").json()["verdicts"] is None
    assert "/v1/verdicts" not in client.get("/openapi.json").json()["paths"]


def test_films_are_kept_as_pictures_without_their_headers(
    desk: Callable[..., tuple[Client, Path]],
    films: list[np.ndarray],
    pngs: list[bytes],
    tmp_path: Path,
) -> None:
    service, path = desk(verdict_films=True)
    header = {"PatientName": "Roe^Jane", "PatientID": "4711"}
    film = dicom(tmp_path, films[0], **header)
    verdict = sent(film, {"Edema": "present"})
    alone = service.post("/v1/verdicts", json=verdict)
    assert (alone.status_code, alone.json()["error"]["code"]) == (422, "film needed")
    other = service.post("/v1/verdicts", **form(pngs[1], verdict))
    assert (other.status_code, other.json()["error"]["code"]) == (422, "another film")
    assert rows(path) == []
    answer = service.post("/v1/verdicts", **form(film, verdict))
    assert answer.json()["film_kept"] is True, answer.text
    assert service.post("/v1/verdicts", json=verdict).status_code == 200  # it is there by now
    (kept,) = (path.parent / "films").iterdir()
    assert kept.name == f"{verdict['film']}.png"
    assert b"Roe" not in kept.read_bytes()
    assert kept.read_bytes()[:4] == b"\x89PNG"
    lateral = dicom(tmp_path, films[1], **header, ViewPosition="LL")
    refused = service.post("/v1/verdicts", **form(lateral, sent(lateral, {"Edema": "absent"})))
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "refused")
    for broken in (b"GIF", pngs[2][:-9]):
        answer = service.post("/v1/verdicts", **form(broken, sent(broken, {"Edema": "absent"})))
        assert answer.status_code in (415, 422)
    assert len(rows(path)) == len(list((path.parent / "films").iterdir())) == 1


def test_what_was_collected_is_a_store_by_the_documented_command(
    desk: Callable[..., tuple[Client, Path]], pngs: list[bytes], tmp_path: Path
) -> None:
    service, path = desk(verdict_films=True)
    for number, film in enumerate(pngs):
        for reader in ("A", "B"):
            says = "present" if number % 2 else "absent"
            body = sent(film, {"Edema": says, "Mass": "uncertain"}, reader=reader)
            assert service.post("/v1/verdicts", **form(film, body)).status_code == 200
    store = tmp_path / "store"
    command = (
        f"prepare folder {path.parent} --csv {path.name} --path-column film --patient-column patient "
        f"--finding-columns Edema Mass --join majority --out {store} --size 64 --workers 1"
    )
    assert main(command.split()) == 0
    kept = Films.open([store])
    assert kept.findings == FINDINGS
    assert sorted(kept.labels[:, 0].tolist()) == [0, 0, 0, 1, 1, 1]
    assert set(kept.labels[:, 1].tolist()) == {-1}
    assert len(set(kept.named_patients.tolist())) == len(pngs)


def test_a_table_goes_on_after_a_restart_and_with_another_model(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.csv"
    table = VerdictTable(path, FINDINGS)
    table.store(Verdict(ONE, "A", "m", {"Edema": 1.0}))
    with pytest.raises(OptionError, match="another service"):
        VerdictTable(path, FINDINGS)
    table.close()
    table = VerdictTable(path, ("Hernia", "Edema"))
    table.store(Verdict(ONE, "A", "n", {"Hernia": -1.0}))
    table.close()
    assert list(rows(path)[0]) == [*FIXED, "Edema", "Mass", "Hernia"]
    assert list(rows(path)[0].values())[3:] == ["n", "1", "", "-1"]


def test_a_table_that_others_changed_is_read_again_and_a_broken_one_is_not_written_over(
    tmp_path: Path,
) -> None:
    path = tmp_path / "verdicts.csv"
    table = VerdictTable(path, FINDINGS)
    table.store(Verdict(ONE, "A", "m", {"Edema": 1.0}))
    path.write_text(path.read_text() + f"films/{'2' * 64}.png,p,B,m,0,\n")
    table.store(Verdict(ONE, "C", "m", {"Mass": 0.0}))
    assert [row["reader"] for row in rows(path)] == ["A", "B", "C"]
    for broken in (
        "film,patient\n",
        path.read_text() + "half,a\n",
        path.read_text() + f"{ONE},p,B,m,7,\n",
    ):
        path.write_text(broken)
        with pytest.raises(DataError, match="no table of verdicts"):
            table.store(Verdict(ONE, "A", "m", {"Edema": 1.0}))
        assert path.read_text() == broken
        table.close()
        with pytest.raises(OptionError, match="no table of verdicts"):
            VerdictTable(path, FINDINGS)
    with pytest.raises(OptionError, match="formulas"):
        VerdictTable(tmp_path / "b" / "verdicts.csv", ("=1+1",))


def test_what_is_no_file_for_verdicts_is_refused_and_nothing_is_left_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x\n")
    for path, message in (
        (tmp_path, "is a folder: give a file name, such as"),
        (tmp_path / "file" / "verdicts.csv", "cannot be written"),
        (tmp_path / "file", "no table of verdicts"),
    ):
        with pytest.raises(OptionError, match=message):
            VerdictTable(path, FINDINGS)
        assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_verdict_that_cannot_be_written_is_no_answer(
    desk: Callable[..., tuple[Client, Path]], pngs: list[bytes]
) -> None:
    service, path = desk()
    path.unlink()
    path.mkdir()
    answer = service.post("/v1/verdicts", json=sent(pngs[0], {"Edema": "present"}))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not stored")
    path.rmdir()
    answer = service.post("/v1/verdicts", json=sent(pngs[0], {"Edema": "absent"}))
    assert answer.json()["rows"] == 1


WRITER = """
import sys
from pathlib import Path
from hilum.serving.verdicts import Verdict, VerdictTable
table = VerdictTable(Path(sys.argv[1]), ("Edema", "Mass"))
print("ready", flush=True)
for number in range(int(sys.argv[2]), 10**6):
    table.store(Verdict(f"{number:064x}", "A", "m", {"Edema": number % 2, "Mass": 0}))
    print(number, flush=True)
"""


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.torture)])
def test_no_half_line_over_kills_and_nothing_confirmed_is_lost(tmp_path: Path, kills: int) -> None:
    path, last = tmp_path / "verdicts.csv", -1
    for kill in range(kills):
        command = [sys.executable, "-c", WRITER, str(path), str(last + 1)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(0.05 + 0.013 * (kill % 7))
        os.kill(writer.pid, signal.SIGKILL)
        confirmed = [int(line) for line in writer.stdout.read().split()]
        writer.stdout.close()
        writer.wait()
        last = max([last, *confirmed])
        table = rows(path)
        assert len(table) in (last + 1, last + 2)
        for number, row in enumerate(table):
            assert row["film"] == f"films/{number:064x}.png"
            assert (row["Edema"], row["Mass"]) == (str(number % 2), "0")
        last = len(table) - 1
    table = VerdictTable(path, FINDINGS)
    table.store(Verdict(ONE, "A", "m", {"Edema": 1.0}))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["hilum.key", "verdicts.csv"]


def test_the_token_holds_for_verdicts(
    desk: Callable[..., tuple[Client, Path]], pngs: list[bytes]
) -> None:
    service, path = desk(token="a-long-enough-secret-word")
    answer = service.post("/v1/verdicts", json=sent(pngs[0], {"Edema": "present"}))
    assert (answer.status_code, rows(path)) == (401, [])
    foreign = {"Origin": "http://evil.example", "Authorization": "Bearer a-long-enough-secret-word"}
    answer = service.post("/v1/verdicts", json=sent(pngs[0], {"Edema": "present"}), headers=foreign)
    assert (answer.status_code, rows(path)) == (403, [])
