"""Preparing: equal bytes whatever workers, parts and kills; every row accounted for; one bad film costs itself."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hilum.catalog import Catalog, film_table
from hilum.errors import DataError, HilumError, OptionError, RunError
from hilum.images.enhance import Preparation
from hilum.images.read import read_grey
from hilum.images.store import MANIFEST, Store
from hilum.images.store_writing import FAILURES, shard_name
from hilum.listener import Listener
from hilum.sources import read_source
from hilum.splits import Split
from hilum.workflows.prepare.plan import WORKPLACE
from hilum.workflows.prepare.prepare import PrepareOptions, prepare

FILMS = 40
VIEWS = ("PA", "AP", "LATERAL", None)

BAD_READER = """
import os, signal, time
from hilum.images.read import read_grey

def read(path, max_pixels, *_):
    if "dies" in path.name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "leaves" in path.name:
        os._exit(3)
    if "hangs" in path.name:
        time.sleep(600)
    if "once" in path.name and not path.with_suffix(".tried").exists():
        path.with_suffix(".tried").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return read_grey(path, max_pixels)
"""


def catalog_of(root: Path, **columns: object) -> Catalog:
    """Describe the folder's films."""
    paths = sorted(file.name for file in root.iterdir() if file.suffix in (".png", ".jpg"))
    number = np.arange(len(paths))
    rows = {
        "path": paths,
        "patient": [f"p{place}" for place in number // 2],
        "view_position": [VIEWS[place % 4] for place in number],
        "Edema": (number % 3 == 0).astype(np.float32),
        "Mass": np.nan,
        **columns,
    }
    table = film_table(pd.DataFrame(rows), ("Edema", "Mass"))
    return Catalog("here", root, ("Edema", "Mass"), table, len(paths) + 2, {"no such file": 2})


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder of 40 films, PNG and JPEG of several sizes."""
    root = tmp_path / "films"
    root.mkdir()
    rng = np.random.default_rng(0)
    for number in range(FILMS):
        film = cv2.GaussianBlur(rng.integers(0, 256, (50 + number, 70)).astype(np.uint8), (0, 0), 3)
        cv2.imwrite(str(root / f"{number:03d}.{'png' if number % 2 else 'jpg'}"), film)
    return root


def content(store: Path) -> dict[str, bytes]:
    """Every file of a store, hidden ones included."""
    return {
        file.relative_to(store).as_posix(): file.read_bytes()
        for file in store.rglob("*")
        if file.is_file()
    }


def failures(store: Path) -> list[dict[str, str]]:
    with (store / FAILURES).open(newline="") as file:
        return list(csv.DictReader(file))


class Notes(Listener):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[tuple[int, int]] = []

    def note(self, line: str) -> None:
        self.lines.append(line)

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        self.steps.append((done, total))


def spoil(root: Path) -> None:
    """Make five films unreadable, each in its own way."""
    (root / "003.png").write_bytes(b"")
    (root / "004.jpg").write_bytes((root / "004.jpg").read_bytes()[:-40])
    (root / "017.png").write_bytes(b"GIF89a")
    (root / "018.jpg").unlink()
    data = bytearray((root / "039.png").read_bytes())
    data[len(data) // 2] ^= 1
    (root / "039.png").write_bytes(data)


def test_the_store_holds_every_film_as_prepared(films: Path, tmp_path: Path) -> None:
    notes = Notes()
    catalog = catalog_of(films)
    result = prepare(
        catalog,
        tmp_path / "out",
        PrepareOptions(32, "clahe", "pad", workers=2),
        notes,
        films_a_shard=16,
    )
    store = Store.open(result.store)
    store.verify()
    expected = [
        Preparation(32, "clahe", "pad").apply(read_grey(films / path))
        for path in catalog.table["path"]
    ]
    assert np.array_equal(store.read(np.arange(FILMS)), expected)
    assert (result.rows_read, result.rows_kept, result.rows_excluded, result.rows_failed) == (
        FILMS + 2,
        FILMS,
        {"no such file": 2},
        {},
    )
    assert [shard["films"] for shard in store.shards] == [16, 16, 8]
    assert store.catalog["path"].tolist() == catalog.table["path"].tolist()
    assert store.catalog["pixels"].nunique() == FILMS
    shapes = [read_grey(films / path).shape for path in catalog.table["path"]]
    assert store.catalog[["height", "width"]].to_numpy().tolist() == [
        list(shape) for shape in shapes
    ]
    assert "40 films at 32 px need" in notes.lines[0]
    assert notes.steps[-1] == (FILMS, FILMS)
    assert not (result.store / WORKPLACE).exists()


def test_a_split_lies_in_the_store(films: Path, tmp_path: Path) -> None:
    prepare(catalog_of(films), tmp_path / "out", PrepareOptions(16, workers=1))
    split = Split.load(tmp_path / "out")
    rows = [
        split.rows(Store.open(tmp_path / "out").catalog, part) for part in ("train", "val", "test")
    ]
    assert sum(map(len, rows)) == FILMS


def test_any_number_of_workers_gives_the_same_bytes(films: Path, tmp_path: Path) -> None:
    catalog = catalog_of(films)
    spoil(films)
    stores = []
    for workers in (1, 2, 5):
        prepare(
            catalog, tmp_path / f"{workers}", PrepareOptions(16, workers=workers), films_a_shard=7
        )
        stores.append(content(tmp_path / f"{workers}"))
    assert stores[0] == stores[1] == stores[2]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_parts_merge_into_the_same_bytes(
    films: Path, tmp_path: Path, order: tuple[int, ...]
) -> None:
    spoil(films)
    catalog = catalog_of(films)
    prepare(catalog, tmp_path / "whole", PrepareOptions(16, workers=1), films_a_shard=7)
    for number in order:
        result = prepare(
            catalog,
            tmp_path / "parts",
            PrepareOptions(16, workers=1, shard=f"{number}/3"),
            films_a_shard=7,
        )
        assert result.complete == (number == order[-1])
        assert (tmp_path / "parts" / MANIFEST).exists() == result.complete
    assert content(tmp_path / "parts") == content(tmp_path / "whole")


def test_parts_at_the_same_time_merge_too(films: Path, tmp_path: Path) -> None:
    prepare(catalog_of(films), tmp_path / "whole", PrepareOptions(16, workers=1), films_a_shard=4)
    out, here = str(tmp_path / "parts"), str(Path(__file__).parent)
    script = RUN.format(root=str(films), out=out, here=here, stop=0, at=None, shard="'{}/3'")
    started = [
        subprocess.Popen([sys.executable, "-c", script.replace("{}", str(n))]) for n in (1, 2, 3)
    ]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert content(tmp_path / "parts") == content(tmp_path / "whole")


def test_every_row_is_accounted_for_by_reason(films: Path, tmp_path: Path) -> None:
    catalog = catalog_of(films)
    spoil(films)
    result = prepare(
        catalog,
        tmp_path / "out",
        PrepareOptions(16, workers=2, views="frontal", unknown_views="keep"),
        films_a_shard=8,
    )
    assert result.rows_excluded == {"no such file": 2, "lateral view": 10}
    assert result.rows_failed == {
        "empty": 1,
        "truncated": 1,
        "not a PNG, JPEG or DICOM image": 1,
        "damaged": 1,
    }
    assert result.rows_read == result.rows_kept + 12 + 4
    assert [row["row"] for row in failures(result.store)] == ["3", "4", "17", "39"]
    assert failures(result.store)[1]["path"] == "004.jpg"
    assert failures(result.store)[1]["reason"].startswith("truncated: ")
    store = Store.open(result.store)
    assert len(store) == result.rows_kept
    assert np.array_equal(
        store.read(np.array([2]))[0], Preparation(16).apply(read_grey(films / "005.png"))
    )
    store.verify()


def test_a_film_whose_decoder_dies_or_hangs_costs_that_film_only(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad_reader.py").write_text(BAD_READER)
    monkeypatch.syspath_prepend(tmp_path)
    for number, what in ((2, "dies"), (10, "leaves"), (11, "hangs"), (20, "once"), (38, "dies")):
        (film,) = films.glob(f"{number:03d}.*")
        film.rename(film.with_stem(f"{number:03d}{what}"))
    catalog = catalog_of(films)
    options = PrepareOptions(16, workers=2, patience=0.5)
    heard = Noting()
    result = prepare(
        catalog, tmp_path / "out", options, heard, reader="bad_reader:read", films_a_shard=16
    )
    ends = Counter(note.partition(":")[0] for note in heard.notes if "decoding process" in note)
    ended = "a decoding process has ended at"
    once = [f"{ended} {name}" for name in catalog.table["path"] if "once" in name]
    assert ends.pop(f"{once[0]} (SIGKILL)") == 1  # the film was read when it was tried again
    assert ends == {
        f"{ended} {catalog.table['path'][row]} ({how})": 2
        for row, how in ((2, "SIGSEGV"), (10, "exit status 3"), (38, "SIGSEGV"))
    }
    assert result.rows_failed == {"decoder died": 3, "decoder hung": 1}
    assert {row["row"]: row["reason"] for row in failures(result.store)} == {
        "2": "decoder died: SIGSEGV",
        "10": "decoder died: exit status 3",
        "11": "decoder hung: longer than 0.5 s",
        "38": "decoder died: SIGSEGV",
    }
    good = catalog.table["path"].drop([2, 10, 11, 38])
    expected = [Preparation(16).apply(read_grey(films / path)) for path in good]
    assert np.array_equal(Store.open(result.store).read(np.arange(FILMS - 4)), expected)


@pytest.fixture(scope="module")
def large_films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 films of which each takes long enough for a kill to come in the middle."""
    root = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    for number in range(40):
        noise = rng.integers(0, 256, (1200, 1200), np.uint8)
        assert cv2.imwrite(str(root / f"{number:03}.jpg"), noise)
    return root


@pytest.mark.parametrize("at", [4, 9, 20])
def test_a_decoding_process_that_is_killed_is_told_of_and_replaced(
    large_films: Path, tmp_path: Path, at: int
) -> None:
    films = large_films
    prepare(catalog_of(films), tmp_path / "whole", PrepareOptions(16, workers=1), films_a_shard=8)

    class Killing(Noting):
        killed = False

        def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
            if done >= at and not self.killed:
                self.killed = True
                os.kill(decoding_processes()[0], signal.SIGKILL)

    heard = Killing()
    options = PrepareOptions(16, workers=1)
    prepare(catalog_of(films), tmp_path / "out", options, heard, films_a_shard=8)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    (line,) = [note for note in heard.notes if "decoding process" in note]
    assert re.fullmatch(
        r"a decoding process has ended (at \d{3}\.\w+|between films) \(SIGKILL\): another goes on in its place",
        line,
    )


class Noting(Listener):
    """Keeps the notes; processes that import this module have no other."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, line: str) -> None:
        self.notes.append(line)


def decoding_processes() -> list[int]:
    """Return this process's children that decode, in the order in which they were started."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"hilum.images.decoding.worker" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def test_when_no_film_can_be_read_that_is_said(films: Path, tmp_path: Path) -> None:
    catalog = catalog_of(films)
    for film in films.iterdir():
        film.write_bytes(b"")
    with pytest.raises(
        DataError, match=r"not one of 40 films can be read \(40 empty; .*failures.csv"
    ):
        prepare(catalog, tmp_path / "out", PrepareOptions(16, workers=1))


def test_done_is_done(films: Path, tmp_path: Path) -> None:
    first = prepare(catalog_of(films), tmp_path / "out", PrepareOptions(16, workers=1))
    before = content(tmp_path / "out")
    again = prepare(catalog_of(films), tmp_path / "out", PrepareOptions(16, workers=2))
    assert (first.already_done, again.already_done) == (False, True)
    assert again.rows_kept == first.rows_kept
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize("finished", [True, False])
def test_another_store_in_the_same_place_is_refused_with_the_difference(
    films: Path, tmp_path: Path, finished: bool
) -> None:
    shard = None if finished else "1/2"
    prepare(
        catalog_of(films),
        tmp_path / "out",
        PrepareOptions(16, workers=1, shard=shard),
        films_a_shard=20,
    )
    for options, line in (
        (PrepareOptions(24, workers=1), "size 16 there, 24 now"),
        (PrepareOptions(16, "paper", workers=1), "enhance 'none' there, 'paper' now"),
        (PrepareOptions(16, workers=1, views="frontal"), "views 'all' there, 'frontal' now"),
    ):
        with pytest.raises(RunError, match=line):
            prepare(catalog_of(films), tmp_path / "out", options, films_a_shard=20)
    with pytest.raises(RunError, match="other rows"):
        prepare(
            catalog_of(films, sex="F"),
            tmp_path / "out",
            PrepareOptions(16, workers=1),
            films_a_shard=20,
        )
    (films / "000.jpg").unlink()
    with pytest.raises(RunError, match="films 40 there, 39 now"):
        prepare(
            catalog_of(films), tmp_path / "out", PrepareOptions(16, workers=1), films_a_shard=20
        )


def test_a_folder_with_something_else_is_left_alone(films: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="something else"):
        prepare(catalog_of(films), tmp_path / "out", PrepareOptions(16, workers=1))
    with pytest.raises(RunError, match="something else"):
        prepare(catalog_of(films), tmp_path / "out" / "thesis.txt", PrepareOptions(16, workers=1))
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_too_small_a_disk_is_said_beforehand(films: Path, tmp_path: Path) -> None:
    table = film_table(pd.DataFrame({"path": np.arange(300_000), "patient": "p"}), ())
    catalog = Catalog("here", films, (), table, len(table))
    with pytest.raises(
        DataError,
        match=r"300,000 films at 4096 px need 5,\d\d\d,\d\d\d.\d MB in .*, but only .* free",
    ):
        prepare(catalog, tmp_path / "out", PrepareOptions(4096, workers=1))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"size": 2}, "--size is 2"),
        ({"size": 16, "shard": "3/2"}, "--shard is '3/2': give i/n with i from 1 to n, as in 2/8."),
        ({"size": 16, "shard": "0/2"}, "--shard is '0/2'"),
        ({"size": 16, "shard": "half"}, "--shard is 'half'"),
        ({"size": 16, "workers": 0}, "--workers is 0"),
        (
            {"size": 16, "views": "font"},
            "unknown choice of views 'font': allowed are all, frontal.",
        ),
    ],
)
def test_options_that_are_not_allowed(
    films: Path, tmp_path: Path, options: dict[str, object], line: str
) -> None:
    with pytest.raises(OptionError) as caught:
        prepare(catalog_of(films), tmp_path / "out", PrepareOptions(**options))  # type: ignore[arg-type]
    assert str(caught.value).startswith(line)
    assert not (tmp_path / "out").exists()


RUN = """
import os, sys, time
sys.path.insert(0, {here!r})
from pathlib import Path
from hilum.listener import Listener
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.prepare.plan import WORKPLACE
from test_prepare import catalog_of

class Harm(Listener):
    def progress(self, stage, done, total, detail=""):
        if {at} is not None and done >= {at}:
            for _ in range(1000):  # a shard is finished beside the decoding: the disk may be slow
                if any((out / WORKPLACE).glob("shard-*.json")):
                    break
                time.sleep(0.01)
            os.kill(os.getpid(), {stop})

root, out = Path({root!r}), Path({out!r})
prepare(catalog_of(root), out, PrepareOptions(16, workers=2, shard={shard}), Harm(), films_a_shard=4)
"""


def run_and_stop(films: Path, out: Path, stop: signal.Signals, at: int) -> int:
    """Run `prepare` in a process that signals itself once so many films and a shard are done; return its status."""
    here = str(Path(__file__).parent)
    script = RUN.format(root=str(films), out=str(out), here=here, stop=int(stop), at=at, shard=None)
    return subprocess.run(
        [sys.executable, "-c", script], stderr=subprocess.DEVNULL, check=False
    ).returncode


def test_a_killed_run_resumes_without_redoing_finished_shards(films: Path, tmp_path: Path) -> None:
    spoil(films)
    catalog = catalog_of(films)  # of 39: the lost film is not in it
    prepare(catalog, tmp_path / "whole", PrepareOptions(16, workers=1), films_a_shard=4)
    out = tmp_path / "out"
    finished: dict[str, int] = {}
    for at in (10, 20, 30):
        assert run_and_stop(films, out, signal.SIGKILL, at) == -signal.SIGKILL
        assert not (out / MANIFEST).exists()
        records = [file.stem for file in (out / WORKPLACE).glob("shard-*.json")]
        nodes = {name: (out / shard_name(int(name[-5:]))).stat().st_ino for name in records}
        assert {name: nodes[name] for name in finished} == finished
        finished = nodes
    assert finished
    result = prepare(catalog, out, PrepareOptions(16, workers=2), films_a_shard=4)
    assert result.complete
    for name, node in finished.items():
        assert (out / shard_name(int(name[-5:]))).stat().st_ino == node
    assert content(out) == content(tmp_path / "whole")


def test_ctrl_c_leaves_what_can_be_resumed(films: Path, tmp_path: Path) -> None:
    prepare(catalog_of(films), tmp_path / "whole", PrepareOptions(16, workers=1), films_a_shard=4)
    assert run_and_stop(films, tmp_path / "out", signal.SIGINT, 12) == -signal.SIGINT
    assert not (tmp_path / "out" / MANIFEST).exists()
    prepare(catalog_of(films), tmp_path / "out", PrepareOptions(16, workers=1), films_a_shard=4)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_finished_shard_that_was_lost_is_done_again(films: Path, tmp_path: Path) -> None:
    prepare(catalog_of(films), tmp_path / "whole", PrepareOptions(16, workers=1), films_a_shard=10)
    for part in ("1/3", "2/3"):
        prepare(
            catalog_of(films),
            tmp_path / "out",
            PrepareOptions(16, workers=1, shard=part),
            films_a_shard=10,
        )
    (tmp_path / "out" / shard_name(0)).unlink()
    (tmp_path / "out" / shard_name(1)).write_bytes(b"cut")
    prepare(catalog_of(films), tmp_path / "out", PrepareOptions(16, workers=1), films_a_shard=10)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_second_run_into_the_same_store_is_refused(films: Path, tmp_path: Path) -> None:
    class Second(Listener):
        refusal = ""

        def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
            if not self.refusal and done < total:
                with pytest.raises(RunError) as caught:
                    prepare(catalog_of(films), tmp_path / "out", PrepareOptions(16, workers=1))
                self.refusal = str(caught.value)

    second = Second()
    assert prepare(
        catalog_of(films), tmp_path / "out", PrepareOptions(16, workers=1), second
    ).complete
    assert "another `hilum prepare` is writing" in second.refusal


def test_a_folder_that_cannot_be_written_is_said(films: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HilumError, match="cannot write to"):
        prepare(catalog_of(films), tmp_path / "file" / "out", PrepareOptions(16, workers=1))


def test_a_shard_without_a_good_film_is_no_trouble(films: Path, tmp_path: Path) -> None:
    for number in range(10, 20):
        next(films.glob(f"{number:03d}.*")).write_bytes(b"")
    result = prepare(
        catalog_of(films), tmp_path / "out", PrepareOptions(16, workers=1), films_a_shard=10
    )
    store = Store.open(result.store)
    assert [shard["films"] for shard in store.shards] == [10, 0, 10, 10]
    assert np.array_equal(
        store.read(np.array([10]))[0], Preparation(16).apply(read_grey(films / "020.jpg"))
    )
    store.verify()


def test_equal_films_are_kept_and_known_by_their_pixels(films: Path, tmp_path: Path) -> None:
    (films / "001.png").write_bytes((films / "003.png").read_bytes())
    result = prepare(catalog_of(films), tmp_path / "out", PrepareOptions(16, workers=1))
    pixels = Store.open(result.store).catalog["pixels"]
    assert pixels[1] == pixels[3]
    assert pixels.nunique() == FILMS - 1


def test_the_environment_is_not_needed(films: Path, tmp_path: Path) -> None:
    """The decoding processes find Hilum even where the caller's folder has a module of a needed name."""
    (tmp_path / "cv2.py").write_text("raise SystemExit('the wrong cv2')")
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert prepare(catalog_of(films), tmp_path / "out", PrepareOptions(16, workers=1)).complete
    finally:
        os.chdir(before)


def test_damaged_films_are_kept_on_request(tmp_path: Path) -> None:
    root = tmp_path / "films"
    root.mkdir()
    texture = np.random.default_rng(0).integers(0, 255, (96, 96), dtype=np.uint8)
    for name in ("a.jpg", "b.jpg"):
        cv2.imwrite(str(root / name), texture)
    data = (root / "b.jpg").read_bytes()
    at = data.rindex(b"\xff\xda") + 200
    (root / "b.jpg").write_bytes(data[:at] + data[at + 300 :])
    catalog = read_source("folder", root)
    result = prepare(catalog, tmp_path / "s", PrepareOptions(16, workers=1))
    assert result.rows_failed == {"damaged": 1}
    assert "b.jpg,damaged: Corrupt JPEG data" in (tmp_path / "s" / "failures.csv").read_text()
    kept = prepare(catalog, tmp_path / "k", PrepareOptions(16, workers=1, keep_damaged=True))
    assert (kept.rows_kept, kept.rows_failed) == (2, {})


def test_a_set_without_a_name_is_named_by_a_pseudonym_of_its_folder(
    films: Path, tmp_path: Path
) -> None:
    root = films.rename(tmp_path / "st-marys")
    unnamed = replace(catalog_of(root), source="")
    sources = []
    for place in ("group/a", "group/b", "strangers/a"):
        prepare(unnamed, tmp_path / place, PrepareOptions(size=16, workers=1))
        sources.append(Store.open(tmp_path / place).source)
        assert root.name not in (tmp_path / place / "manifest.json").read_text()
    assert sources[0] == sources[1] != sources[2]
    assert re.fullmatch(r"folder-[0-9a-f]{8}", sources[0])
