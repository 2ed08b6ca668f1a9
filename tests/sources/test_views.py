"""Words for views: what each is, and that a film whose view cannot be told is counted, named and left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hilum.errors import OptionError
from hilum.sources import read_source
from hilum.sources.view_words import view_position
from hilum.workflows.prepare.plan import PrepareOptions, make_plan

WORDS = {
    "PA": "PA|pa|P.A.|P/A|PA ERECT|pa_view|postero-anterior|POSTEROANTERIOR|Posterior-Anterior|"
    "postéro-antérieur|Chest PA|W033 PA|PA1",
    "AP": "AP|a-p|AP Supine|AP_horizontal|APSupine|antero posterior|Anterior to Posterior|AP AXIAL|"
    "AP LORDOTIC|portable AP|Antero-Posterior (AP)",
    "LATERAL": "LATERAL|lat|LAT.|L|LL|RL|L.L.|Left Lateral|XTABLE LATERAL|cross-table|"
    "latero-lateral|LLAT|Latéral|PA and lateral|lateral decubitus",
    "FRONTAL": "Frontal|frontal view|AP/PA|PA or AP",
    "": "UNK|COSTAL|EXCLUDE|R|7|bilateral|non-lateral|AP oblique|LAO|SWIMMERS|?|map|apical|AP L",
}


@pytest.mark.parametrize("view", WORDS)
def test_words_of_each_view(view: str) -> None:
    words = WORDS[view].split("|")
    assert {word: view_position(word) for word in words} == dict.fromkeys(words, view or None)


def plan(catalog: Any, **options: str) -> Any:
    return make_plan(Path("x"), catalog, PrepareOptions(16, views="frontal", **options), "")


def test_unknown_views_are_named_and_left_out_unless_kept(films: Any) -> None:
    views = ["PA", "AP Supine", "Frontal", "xtable lateral", "COSTAL", "COSTAL", ""]
    names = [f"{number}.png" for number in range(len(views))]
    table = "path,v\n" + "".join(
        f"{name},{view}\n" for name, view in zip(names, views, strict=True)
    )
    catalog = read_source("folder", films(*names, table=table), csv="t.csv", view_column="v")
    note = next(note for note in catalog.notes if "cannot be told" in note)
    assert "3 films" in note
    assert "2 'COSTAL', 1 empty" in note
    dropped = plan(catalog)
    assert dropped.rows.tolist() == [0, 1, 2]
    assert dropped.excluded == {"lateral view": 1, "unknown view": 3}
    kept = plan(catalog, unknown_views="keep")
    assert kept.rows.tolist() == [0, 1, 2, 4, 5, 6]
    assert kept.excluded == {"lateral view": 1}
    assert make_plan(Path("x"), catalog, PrepareOptions(16), "").excluded == {}
    with pytest.raises(OptionError, match=r"unknown choice of unknown views 'kept'.*drop, keep"):
        plan(catalog, unknown_views="kept")


def test_no_view_known_is_refused_with_the_ways_out(films: Any) -> None:
    catalog = read_source("folder", films("1.png", "2.png"))
    with pytest.raises(OptionError, match=r"\(2 of unknown view\).*--unknown-views keep"):
        plan(catalog)
    assert len(plan(catalog, unknown_views="keep").rows) == 2


def test_nihs_words_are_read_by_the_same_table(nih: Any) -> None:
    rows = [nih.rows[0].replace(",PA,", ",LL,"), nih.rows[1], nih.rows[2].replace("PA", "PA ERECT")]
    views = read_source("nih14", nih(rows)).table["view_position"].tolist()
    assert views == ["LATERAL", "AP", "PA"]


def test_chexperts_two_columns_that_contradict_each_other_do_not_tell(chexpert: Any) -> None:
    first = chexpert.rows[0]
    rows = (
        first.replace("Frontal,AP", "Frontal,LL"),
        chexpert.rows[1],
        chexpert.rows[2].replace("Frontal,LL", "Frontal,"),
    )
    catalog = read_source("chexpert", chexpert(rows))
    assert catalog.table["view_position"].fillna("-").tolist() == ["-", "LATERAL", "FRONTAL"]
    assert any("1 'LL'" in note for note in catalog.notes)
