"""A hospital's export: any names, stray files, copies, labels by study; no line quotes what it hides."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from exports import SIDE, Export, referring
from hilum.catalog import Catalog
from hilum.errors import DataError, OptionError
from hilum.images.dicom.header import DicomHeader, read_header
from hilum.listener import Listener
from hilum.sources import read_source
from hilum.sources.archive.entering import left_out
from hilum.sources.archive.film_view import film_view
from hilum.sources.archive.films import Film, age_of, told_apart, with_numbers_taken_out
from hilum.sources.archive.study_labels import labels_of
from hilum.sources.archive.tree import tree_of
from hilum.sources.dicom import DicomOptions

LATERAL = {"ViewPosition": "LL"}


def read(export: Export, **options: object) -> Catalog:
    return read_source("dicom", export.root, **options)


class Labelled(NamedTuple):
    """Labels of the films that enter, by finding and file, and what was noted."""

    labels: dict[str, dict[str, float]]
    notes: tuple[str, ...]


def labelled(export: Export, text: str, key: str = "accession", **options: object) -> Labelled:
    """Join a table's labels with the films that enter; headers are read in this process."""
    chosen = DicomOptions(label_table=export.table(text), label_key=key, **options)
    entering, others = [], []
    for file in tree_of(export.root).files:
        header = read_header(export.root / file)
        film = Film(file, header, film_view(header))
        (others if left_out(header) else entering).append(film)
    labels, notes = labels_of(
        entering,
        others,
        chosen.label_table,
        key,
        chosen.key_column,
        chosen.label_views,
        chosen.label_words(),
    )
    files = [film.file for film in entering]
    return Labelled(
        {
            name: dict(zip(files, map(float, values), strict=True))
            for name, values in labels.items()
        },
        notes,
    )


def edema(labelled: Labelled) -> dict[str, float]:
    return labelled.labels["Edema"]


def test_files_are_told_by_content_whatever_their_names(export):
    for name in (
        "IM0001",
        "scan.jpg",
        "x.dcm",
        "deep/er/a.b.c",
        "Müller, Anna.DCM",
        "1.2.840.10008",
    ):
        export(name)
    catalog = read(export)
    assert catalog.rows_read == len(catalog.table) == 6
    assert sorted(catalog.files_of(range(6)))[0] == "1.2.840.10008"


def test_stray_files_are_counted_by_reason(export):
    export("a/film")
    film = export("a/ct", Modality="CT").read_bytes()
    (export.root / "a/cut.dcm").write_bytes(film[:300])
    (export.root / "README.txt").write_text("Export of 2020")
    (export.root / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (export.root / "empty").write_bytes(b"")
    (export.root / "all.zip").write_bytes(b"PK\3\4" + bytes(99))
    export(
        "report",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11",
        Modality="SR",
        PixelData=None,
        Rows=None,
    )
    (export.root / "link").symlink_to("a/film")
    (export.root / "out").symlink_to("/")
    (export.root / "broken").symlink_to("nowhere")
    os.mkfifo(export.root / "pipe")
    catalog = read(export)
    assert catalog.excluded == {
        "link": 4,
        "no DICOM file": 4,
        "no image": 2,
        "another modality": 1,
    }
    assert catalog.rows_read == 12
    assert any("1 packed file (zip" in note for note in catalog.notes)


def test_a_dicomdir_is_no_film(export):
    export("film")
    directory = {"SOPClassUID": None, "Modality": None, "Rows": None, "PixelData": None}
    for name in ("DICOMDIR", "disc 2/dicomdir"):
        export(name, **directory)
    assert read(export).excluded == {"DICOMDIR": 2}


def test_the_same_file_twice_is_one_film(export):
    film = export("a/1")
    (export.root / "copy of 1").write_bytes(film.read_bytes())
    catalog = read(export)
    assert (len(catalog.table), catalog.excluded) == (1, {"the same file again": 1})


def test_films_that_share_a_uid_and_differ_are_two(export):
    for name in "ab":
        export(name, SOPInstanceUID="1.2.3")
    assert read(export).table["path"].nunique() == 2


def test_films_without_a_uid_are_told_apart(export):
    for name in "ab":
        export(name, SOPInstanceUID=None)
    assert read(export).table["path"].nunique() == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            {"IrradiationEventUID": "1.5"},
            {"IrradiationEventUID": "1.5", "ImageType": ["DERIVED", "PRIMARY"]},
        ),
        ({"SOPInstanceUID": "1.77"}, {"SourceImageSequence": referring("1.77")}),
        ({}, {"SeriesDescription": "Chest PA edge enhanced"}),
    ],
)
def test_a_second_rendering_of_an_exposure_is_left_out(export, first, second):
    export("b/plain", **first)
    export("a/second", **second)
    catalog = read(export)
    assert catalog.files_of([0]) == ("b/plain",)
    assert catalog.excluded == {"second rendering of one exposure": 1}
    assert len(read(export, keep=["second-rendering"]).table) == 2


def test_an_enhanced_film_that_stands_alone_enters(export):
    export("a", SeriesDescription="Chest PA edge enhanced")
    export("b", **LATERAL)
    assert len(read(export).table) == 2


def test_a_film_made_of_one_for_processing_enters(export):
    export("raw", SOPInstanceUID="1.66", PresentationIntentType="FOR PROCESSING")
    export("shown", SourceImageSequence=referring("1.66"))
    catalog = read(export)
    assert catalog.files_of([0]) == ("shown",)
    assert catalog.excluded == {"for processing": 1}


def test_dates_become_ages_and_an_order(export):
    export("a", study="1", StudyDate="20200301")
    export("b", study="2", StudyDate="20190301", PatientAge="068Y")
    export("c", study="3", StudyDate="20190301", StudyTime="1200")
    export("d", patient="P2", study="4", PatientBirthDate="19200101")
    export("e", patient="P3", study="5", StudyDate=None, PatientBirthDate=None)
    table = read(export).table.set_index("study")
    order = dict(zip(table.index.str[-1], table["study_order"].astype(object), strict=True))
    assert order["2"] == 1
    assert order["3"] == 2
    assert order["1"] == 3
    assert order["4"] == 1
    ages = dict(zip(table.index.str[-1], table["age"], strict=True))
    assert (ages["2"], ages["4"]) == (68, 90)
    assert int(ages["1"]) == 69
    assert np.isnan(ages["5"])


@pytest.mark.parametrize(
    ("tags", "years"),
    [
        ({"PatientAge": "089Y"}, 89),
        ({"PatientAge": "090Y"}, 90),
        ({"PatientAge": "104Y"}, 90),
        ({"PatientAge": "006M"}, 0.5),
        ({"PatientAge": "010D"}, 0),
        ({"PatientAge": "000Y"}, 69),
        ({"PatientAge": None}, 69),
        ({"PatientAge": None, "PatientBirthDate": "20200201"}, 0),
        ({"PatientAge": None, "PatientBirthDate": "20300101"}, None),
        ({"PatientAge": None, "PatientBirthDate": None}, None),
    ],
)
def test_ages_are_whole_and_capped(export, tags, years):
    age = age_of(read_header(export("a", **tags)))
    assert age == years or (years is None and np.isnan(age))


def second_renderings(export: Export) -> set[str]:
    """Return the files that are second renderings of an exposure; headers are read in this process."""
    files = tree_of(export.root).files
    headers = [read_header(export.root / file) for file in files]
    films = [Film(file, h, film_view(h)) for file, h in zip(files, headers, strict=True)]
    return {files[index] for index in told_apart(export.root, films, ())[1]}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"patient": "P2", "study": "2"}),
        ({}, {"study": "2"}),
        ({}, LATERAL),
        ({"ViewPosition": "AP"}, {"ViewPosition": "PA"}),
    ],
)
def test_an_event_of_several_patients_studies_or_views_is_no_exposure(export, first, second):
    export("a", IrradiationEventUID="1.5", **first)
    export("b", IrradiationEventUID="1.5", **second)
    assert second_renderings(export) == set()


def test_a_rendering_that_names_no_view_is_of_its_exposure(export):
    export("a", IrradiationEventUID="1.5")
    export("b", IrradiationEventUID="1.5", ViewPosition=None, ImageType=["DERIVED", "PRIMARY"])
    export("c", IrradiationEventUID="1.6", patient="P2", study="2")
    assert second_renderings(export) == {"b"}


@pytest.mark.parametrize("number", [None, "0", "ANONYMOUS"])
def test_films_without_a_patients_number_are_patients_by_study(export, number):
    for name, study in (("a", "1"), ("b", "1"), ("c", "2")):
        export(name, study=study, PatientID=number)
    catalog = read(export)
    assert catalog.table["patient"].nunique() == 2
    assert any("3 films have no patient's number" in note for note in catalog.notes)


def patients(*numbers: str) -> list[str]:
    """Return the patients' numbers that are left of an archive's."""
    headers = with_numbers_taken_out([DicomHeader(patient_id=number) for number in numbers])
    return [header.patient_id for header in headers if isinstance(header, DicomHeader)]


@pytest.mark.parametrize(
    ("numbers", "none"),
    [
        (("1", "2", "10"), ()),
        (("0", "1", "2"), ()),
        (("000", "001", "002"), ()),
        (("1", "1", "1"), ("1",)),
        (("0", "1"), ("0", "1")),
        (("1", "4711083", "4711099"), ("1",)),
        (("0", "00000000", "4711083"), ("0", "00000000")),
        (("111111", "111112"), ()),
        (("111111", "482913"), ("111111",)),
        (("1", "17", "anonymous"), ("anonymous",)),
        (("1", "P-17"), ("1",)),
        (("1", "\u0661\u0662"), ("1",)),  # digits, but none that anybody counts files by
    ],
)
def test_a_short_number_is_a_patients_where_patients_are_counted(numbers, none):
    assert patients(*numbers) == ["" if number in none else number for number in numbers]


def test_patient_1_of_an_archive_numbered_from_1_is_one_patient(export):
    for study, number in (("1", "1"), ("2", "1"), ("3", "2"), ("4", "3")):
        export(study, study=study, PatientID=number)
    catalog = read(export)
    assert catalog.table["patient"].nunique() == 3
    assert not any("patient's number" in note for note in catalog.notes)


def test_a_study_number_in_the_patients_place_is_named(export):
    for study in "12":
        export(study, study=study, PatientID=f"A{study}", AccessionNumber=f"A{study}")
    assert "2 films have their study's number as the patient's" in " ".join(read(export).notes)


@pytest.mark.parametrize(
    "number",
    ["", "unknown", "***", "-", "00000000", "999999", "Anonymous Patient", "PATIENT^ANONYMOUS", "de identified",
     "No ID", "N/A", "REDACTED", "Anonymized^^", "XXXXX"],
)  # fmt: skip
def test_words_for_a_number_that_was_taken_out_are_none(number):
    assert patients(number) == [""]


@pytest.mark.parametrize("number", ["111", "7", "ANON0012", "Anonymous 3", "P-0000001", "DE-1234"])
def test_a_number_among_such_words_is_a_patients(number):
    assert patients(number) == [number]


def test_a_number_of_every_study_may_stand_for_several_people(export):
    for study in "123":
        export(study, study=study, PatientID="TRIAL")
    notes = " ".join(read(export).notes)
    assert "1 patient's number is that of up to 3 studies: it may stand for several people" in notes


def test_maker_and_model_stay_unless_told(export):
    export("a")
    assert read(export).table.loc[0, ["maker", "model"]].tolist() == ["Acme", "Ray 1"]
    assert read(export, keep_device="no").table[["maker", "model"]].isna().all(axis=None)


def test_labels_of_a_study_reach_its_frontal_films(export):
    export("1/pa", study="1")
    export("1/ap", study="1", ViewPosition="AP")
    export("1/lat", study="1", **LATERAL)
    export("2/pa", study="2")
    export("3/leg", study="3", BodyPartExamined="LEG")
    text = "AccessionNumber,Edema\nA1,1\nA3,0\nA9,1\n"
    found = labelled(export, text)
    told = edema(found)
    assert (told["1/pa"], told["1/ap"]) == (1, 1)
    assert np.isnan(told["1/lat"])
    assert np.isnan(told["2/pa"])
    notes = "; ".join(found.notes)
    for said in (
        "labels of 1 of 3 lines of the label table reach 2 films",
        "1 line of the label table is of films that were left out, first line 3",
        "1 line of the label table is of no film, first line 4",
        "1 lateral of a labelled study has no labels",
        "1 film has no line in the label table",
    ):
        assert said in notes
    assert edema(labelled(export, text, label_views="all"))["1/lat"] == 1


@pytest.mark.parametrize(
    ("key", "column", "value"),
    [
        ("accession", "Accession Number", "A1"),
        ("study", "StudyInstanceUID", "1.2.7.1"),
        ("image", "SOPInstanceUID", "1.2.9.1"),
        ("patient", "PatientID", "P1"),
        ("path", "path", "sub/one"),
        ("path", "File Name", "one"),
        ("path", "file", ".\\sub\\one"),
        ("path", "file", "sub/one.dcm"),
    ],
)
def test_keys(export, key, column, value):
    export("sub/one")
    export("sub/two", patient="P2", study="2")
    told = edema(labelled(export, f"{column},Edema\n{value},1\n", key))
    assert told["sub/one"] == 1
    assert np.isnan(told["sub/two"])


@pytest.mark.parametrize(
    ("header", "cell"), [("0012345", "12345"), ("12345", "12345.0"), ("00012", "00012 ")]
)
def test_numbers_that_a_spreadsheet_changed_are_found(export, header, cell):
    export("a", AccessionNumber=header)
    assert edema(labelled(export, f"accession,Edema\n{cell},1\n"))["a"] == 1


def test_a_changed_number_that_fits_two_is_of_none(export):
    export("a", study="1", AccessionNumber="0012")
    export("b", study="2", AccessionNumber="012")
    export("c", study="3", AccessionNumber="77")
    told = edema(labelled(export, "accession,Edema\n12,1\n77,0\n"))
    assert np.isnan(told["a"])
    assert np.isnan(told["b"])


def test_a_key_of_several_patients_is_refused_by_its_line(export):
    export("a", patient="Poe 1", study="1", AccessionNumber="S77")
    export("b", patient="Poe 2", study="2", AccessionNumber="S77")
    export("c", patient="Poe 3", study="3", AccessionNumber="S78")
    with pytest.raises(
        DataError, match="line 3: its accession is that of films of several patients"
    ) as error:
        labelled(export, "accession,Edema\nS78,1\nS77,1\n")
    assert not any(word in str(error.value) for word in ("S77", "Poe"))


def test_two_lines_of_one_key_are_refused_or_joined(export):
    export("a")
    text = "accession,Edema\nA1,1\nA1,0\n"
    with pytest.raises(DataError, match="line 3: its accession stands in an earlier line") as error:
        labelled(export, text)
    assert "A1" not in str(error.value)
    assert edema(labelled(export, text, join="any"))["a"] == 1
    assert edema(labelled(export, text, join="uncertain"))["a"] == -1


def test_a_table_that_fits_nothing_names_the_key_that_would(export):
    export("a")
    with pytest.raises(DataError, match="1 of its 1 lines name a film by --label-key patient"):
        labelled(export, "accession,Edema\nP1,1\n")
    with pytest.raises(DataError, match="1 keys were rounded by a spreadsheet"):
        labelled(export, "accession,Edema\n1.2E+11,1\n")


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("id,Edema\nA1,1\n", {}, "give --key-column, one of id, Edema"),
        ("accession,edm\nA1,1\n", {}, "no column of the label table is a known finding"),
        ("accession,Edema\nA1,1\n", {"finding_columns": ["Edma"]}, "Did you mean 'Edema'"),
        ("accession,Edema\nA1,maybe so\n", {}, "is not a label"),
        ("accession,Edema\n,1\n", {}, "is empty"),
        ("accession,Edema\nA1,1\n", {"finding_columns": ["accession"]}, "is the key"),
    ],
)
def test_a_label_table_that_does_not_fit(export, text, options, said):
    export("a")
    with pytest.raises((DataError, OptionError), match=said):
        labelled(export, text, **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keep": ["body-parts"]}, "Did you mean 'body-part'"),
        ({"label_key": "mrn", "label_table": "x.csv"}, "allowed are accession"),
        ({"finding_columns": ["Edema"]}, "needs a table"),
        ({"unknown_part": "lose"}, "allowed are keep, drop"),
    ],
)
def test_wrong_options(options, said):
    with pytest.raises(OptionError, match=said):
        DicomOptions(**options)


def test_classes_of_a_column_are_labels(export):
    export("a", study="1")
    export("b", study="2")
    found = labelled(export, "accession,dx\nA1,Edema|Mass\nA2,normal\n", label_column="dx")
    assert found.labels == {"Edema": {"a": 1, "b": 0}, "Mass": {"a": 1, "b": 0}}


def test_a_line_for_each_study_and_finding(export):
    export("a", study="1")
    export("b", study="2")
    text = "accession,dx,value\nA1,Edema,1\nA1,Mass,0\nA2,edema,0\n"
    given = {"label_column": "dx", "value_column": "value"}
    found = labelled(export, text, **given).labels
    assert found["Edema"] == {"a": 1, "b": 0}
    assert found["Mass"]["a"] == 0
    assert np.isnan(found["Mass"]["b"])
    with pytest.raises(DataError, match="line 5: Mass is stated in an earlier line") as error:
        labelled(export, f"{text}A1,Mass,1\n", **given)
    assert "A1" not in str(error.value)
    assert labelled(export, f"{text}A1,Mass,1\n", join="any", **given).labels["Mass"]["a"] == 1
    with pytest.raises(OptionError, match="--value-column 'value' needs --label-column"):
        DicomOptions(label_table=Path("x.csv"), value_column="value")


def test_labels_are_columns_of_the_catalogue(export):
    export("b", study="2")
    export("a", study="1")
    catalog = read(export, label_table=export.table("accession,Edema\nA1,1\nA2,0\n"))
    assert catalog.findings == ("Edema",)
    files = catalog.files_of(range(2))
    assert dict(zip(files, catalog.table["Edema"], strict=True)) == {"a": 1, "b": 0}


def test_an_archive_without_a_chest_names_reasons_and_no_folder(export):
    export("leg", BodyPartExamined="LEG")
    with pytest.raises(
        DataError, match=r"1 another body part \(--keep body-part takes it\)"
    ) as error:
        read(export)
    assert str(export.root) not in str(error.value)


@pytest.mark.parametrize(
    ("tags", "reason", "key"),
    [
        ({"ConversionType": "WSD"}, "secondary capture", "secondary-capture"),
        ({"NumberOfFrames": 2, "PixelData": bytes(4 * SIDE**2)}, "several frames", "frames"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "for processing", "for-processing"),
        ({"Modality": "CT"}, "another modality", "modality"),
    ],
)
def test_films_left_out_are_counted_with_the_option_that_takes_them(export, tags, reason, key):
    export("plain")
    export("one", study="2", **tags)
    (note,) = (note for note in read(export).notes if note.startswith("left out"))
    assert note == f"left out: 1 {reason} (--keep {key} takes it)"
    export("two", study="3", **tags)
    (export.root / "notes.txt").write_text("no film")
    (note,) = (note for note in read(export).notes if note.startswith("left out"))
    assert note == f"left out: 2 {reason} (--keep {key} takes them), 1 no DICOM file"
    kept = read(export, keep=(key,))
    assert len(kept.table) == 3
    assert not [note for note in kept.notes if note.startswith("left out")]


def test_a_file_that_lies_about_itself_fails_alone(export):
    export("good")
    film = bytearray(export("bad", study="2").read_bytes())
    at = film.index(b"PatientID"[:0] + b"\x10\x00\x20\x00LO")
    film[at + 6 : at + 8] = b"\xff\xff"
    (export.root / "bad").write_bytes(film)
    catalog = read(export)
    assert catalog.files_of([0]) == ("good",)
    assert sum(catalog.excluded.values()) == 1


def test_one_frame_that_is_called_four_enters(export):
    export("a", NumberOfFrames="4")
    assert len(read(export).table) == 1


def test_the_class_alone_tells_a_radiograph(export):
    export("a", Modality=None)
    export("b", Modality=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.2", study="2")
    catalog = read(export)
    assert catalog.files_of(range(len(catalog.table))) == ("a",)


def test_progress_is_told_in_files(export):
    class Told(Listener):
        def __init__(self) -> None:
            self.steps: list[tuple[str, int, int]] = []

        def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
            self.steps.append((stage, done, total))

    for name in "abc":
        export(name)
    told = Told()
    read_source("dicom", export.root, told)
    assert told.steps[0] == ("read headers", 0, 3)
    assert told.steps[-1] == ("read headers", 3, 3)
