"""``hilum card`` on a small store: a page, what it prints, and what it refuses."""

from __future__ import annotations

import json

import pytest

FEW = ("--resamples", 10, "--min-positives", 2, "--samples", 2)


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("tiny") / "store", films=48, size=16)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("card") / "out"


def test_a_card_is_made_and_is_done_the_second_time(hilum, store, phantoms, out):
    first = hilum("card", store, "--out", out, "--annotations", phantoms, *FEW, "--json")
    assert first.code == 0
    said = json.loads(first.out.splitlines()[-1])
    assert (said["films"], said["stores"], said["already_done"]) == (48, ["tiny"], False)
    assert said["report"] == str(out / "card.html")
    again = hilum("card", store, "--out", out, "--annotations", phantoms, *FEW)
    assert again.code == 0
    assert "has this card already" in again.err
    lines = again.out.splitlines()
    assert lines[-1] == str(out / "card.html")
    assert lines[0].startswith("48 films of ")
    assert (
        "- Outlier images: not tested: fewer than 200 films, of which only blank ones are found "
        "(from 48 px on inverted ones too)." in lines
    )
    assert "- Label issues: not tested: no run was given (--from RUN)." in lines
    assert sum(line.startswith(("- ", "! ")) for line in lines) >= 5


def test_the_page_can_be_built_again(hilum, store, phantoms, out):
    hilum("card", store, "--out", out, "--annotations", phantoms, *FEW)
    (out / "card.html").unlink()
    said = hilum("report", out)
    assert (said.code, said.out.strip()) == (0, str(out / "card.html"))
    assert (out / "card.html").is_file()


def test_another_card_in_its_place_is_refused_in_one_line(hilum, store, phantoms, out):
    hilum("card", store, "--out", out, "--annotations", phantoms, *FEW)
    said = hilum("card", store, "--out", out, *FEW)
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "give --out a new folder" in said.err


def test_a_folder_that_is_no_store_is_refused_in_one_line(hilum, tmp_path):
    said = hilum("card", tmp_path, "--out", tmp_path / "out")
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "is no finished store" in said.err


def test_a_run_that_is_none_is_refused(hilum, store, tmp_path):
    said = hilum("card", store, "--out", tmp_path / "out", "--from", tmp_path / "nothing")
    assert said.code == 1
    assert "no weights file" in said.err
    said = hilum("card", store, "--out", tmp_path / "out", "--from", store)
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert f"{store} holds no finished run" in said.err
