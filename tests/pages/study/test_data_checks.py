"""The check of a study's data: written when the runs have ended, and shown on the page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hilum.errors import RunError
from hilum.pages.pages import write_report
from hilum.workflows.study.data_checks import study_facts
from hilum.workflows.study.record import DATA


def page(folder: Path) -> str:
    return write_report(folder).report.read_text(encoding="utf-8")


def changed(folder: Path, **news: Any) -> str:
    """Put other facts into data.json and build the page."""
    facts = json.loads((folder / DATA).read_text())
    for name, values in news.items():
        facts[name] |= values
    (folder / DATA).write_text(json.dumps(facts))
    return page(folder)


def test_a_finished_study_has_checked_its_data(demo_folder):
    facts = json.loads((demo_folder / DATA).read_text())
    assert facts["copies"]["straddling"] == 0
    assert facts["shortcuts"]["reason"] is None
    assert facts["shortcuts"]["beside"].startswith("moco-100")
    assert set(facts["shortcuts"]["model"]) == set(facts["shortcuts"]["findings"])
    assert str(demo_folder) not in (demo_folder / DATA).read_text()


def test_the_check_gives_the_same_again(demo_folder, tmp_path):
    copied = shutil.copytree(demo_folder, tmp_path / "demo")
    study_facts(copied)
    assert (copied / DATA).read_bytes() == (demo_folder / DATA).read_bytes()


def test_what_it_found_is_on_the_page(own_demo, plain):
    words = plain(page(own_demo))
    assert "Results of the data check" in words
    assert "No patient is in several splits." in words
    assert list((own_demo / "tables").glob("shortcuts-*.csv"))


def test_copies_between_parts_and_flags_are_said_twice(own_demo, plain):
    flag = {"finding": "Edema", "probe": "border", "words": "Edema: told by <b>the border</b>."}
    text = changed(
        own_demo, copies={"groups": 3, "straddling": 3, "films": 6}, shortcuts={"flags": [flag]}
    )
    words = plain(text)
    assert "3 groups of copies are in several splits: a leak." in words
    assert "Copies in several splits. 3 groups" in words
    assert (
        "Possible shortcut. Edema: told by <b>the border</b>." in words
    )  # as words, not as markup
    assert "Shortcuts are possible." in words


def test_a_study_that_was_not_checked_has_its_page(own_demo, plain):
    (own_demo / DATA).unlink()
    words = plain(page(own_demo))
    assert "Results of the data check" not in words
    assert (
        "outlier images and shortcuts: not tested: the study's check of its data was not" in words
    )


def test_shortcuts_that_could_not_be_tested_are_not_shown_as_passed(own_demo, plain):
    words = plain(changed(own_demo, shortcuts={"findings_judged": [], "min_positives": 20}))
    reason = "no finding has 20 patients with it and 2 without in the test split."
    assert f"Shortcuts: not tested: {reason}" in words
    assert f"Shortcuts were not tested. Reason: {reason}" in words
    assert "No shortcut is flagged" not in words
    words = plain(changed(own_demo, shortcuts={"reason": "no film is in the test split"}))
    assert "Shortcuts: not tested: no film is in the test split." in words


def test_findings_with_too_few_patients_are_named_as_not_tested(own_demo, plain):
    words = plain(changed(own_demo, shortcuts={"findings_judged": ["Edema"]}))
    assert "No shortcut is flagged for 1 finding tested. Not tested: No Finding," in words


@pytest.mark.parametrize("content", ["{", "{}"])
def test_damaged_facts_are_refused(own_demo, content):
    (own_demo / DATA).write_text(content)
    with pytest.raises(RunError, match="damaged"):
        write_report(own_demo)
