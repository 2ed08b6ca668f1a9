"""Folders as people have them from Kaggle and from authors: each is read right, or refused in one line with a way out.

Films are empty files, since a source opens none. docs/your-data.md has the same commands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from hilum.errors import HilumError
from hilum.sources import read_source

NAN = float("nan")


class Folder(NamedTuple):
    """A folder, the options that read it, and what is right."""

    films: Sequence[str]
    tables: Mapping[str, str]
    options: Mapping[str, Any]
    labels: Mapping[str, Sequence[float]]
    """By finding, of the films in the catalogue's order."""
    paths: Sequence[str] = ()
    """The catalogue's, where they are not ``films``."""
    parts: Sequence[str | None] = ()
    source: str = "folder"


VINDR = """image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max
50a4,No finding,14,R11,,,,
50a4,No finding,14,R15,,,,
21a1,Cardiomegaly,3,R10,691.0,1375.0,1653.0,1831.0
21a1,Aortic enlargement,0,R10,1264.0,743.0,1611.0,1019.0
21a1,No finding,14,R7,,,,
9a5b,Pleural effusion,10,R9,1.0,2.0,3.0,4.0
"""
RSNA = """patientId,x,y,width,height,Target
0004-cfab,,,,,0
0043-6515,264.0,152.0,213.0,379.0,1
0043-6515,562.0,152.0,256.0,453.0,1
"""
CHEXPERT = "Path,Sex,Age,Frontal/Lateral,AP/PA,Edema,Cardiomegaly\n"
MIMIC = """subject_id,study_id,dicom_id,ViewPosition,Atelectasis,Edema,split,path
10000030,50414260,aa-0,PA,1.0,,train,files/p10/aa-0.jpg
10000031,50414261,aa-1,LATERAL,,0.0,validate,files/p10/aa-1.jpg
10000032,50414262,aa-2,AP,-1.0,,test,files/p10/aa-2.jpg
"""
NIH = """Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position
00000001_000.png,Mass|Effusion,0,1,58,M,PA
00000002_000.png,No Finding,0,2,58,M,PA
"""
PADCHEST = """ImageID,ImageDir,StudyID,PatientID,Projection,Labels
a0.png,0,s0,0,PA,['normal']
a1.png,0,s1,1,L,"['cardiomegaly', ' pleural effusion']"
"""
KERMANY = [
    f"chest_xray/{part}/{name}/{name}-{part}.jpeg"
    for part in ("test", "train", "val")
    for name in ("NORMAL", "PNEUMONIA")
]
QU_EX = [
    f"Lung Segmentation Data/Lung Segmentation Data/{part}/{name}/{kind}/{name}.png"
    for part in ("Test", "Train", "Val")
    for name in ("COVID-19", "Non-COVID", "Normal")
    for kind in ("images", "lung masks")
]

READ = {
    "VinDr as PNG: boxes of several readers": Folder(
        ["train/50a4.png", "train/21a1.png", "train/9a5b.png", "test/zzz.png"],
        {"train.csv": VINDR},
        {
            "csv": "train.csv",
            "path_column": "image_id",
            "label_column": "class_name",
            "join": "any",
        },
        {
            "Aortic enlargement": [0, 1, 0],
            "Cardiomegaly": [0, 1, 0],
            "Pleural Effusion": [0, 0, 1],
        },
        ["train/50a4.png", "train/21a1.png", "train/9a5b.png"],
    ),
    "RSNA as PNG: a row a box": Folder(
        ["stage_2_train_images/0004-cfab.png", "stage_2_train_images/0043-6515.png"],
        {"stage_2_train_labels.csv": RSNA},
        {
            "csv": "stage_2_train_labels.csv",
            "path_column": "patientId",
            "patient_column": "patientId",
            "finding_columns": ("Target",),
            "mapping": {"Target": "Pneumonia"},
            "join": "any",
        },
        {"Pneumonia": [0, 1]},
    ),
    "SIIM as PNG, masks of the same names": Folder(
        ["png_images/0_.png", "png_images/1_.png", "png_masks/0_.png", "png_masks/1_.png"],
        {"stage_1.csv": "new_filename,ImageId,has_pneumo\n0_.png,1.2.0,0\n1_.png,1.2.1,1\n"},
        {
            "csv": "stage_1.csv",
            "path_column": "new_filename",
            "finding_columns": ("has_pneumo",),
            "mapping": {"has_pneumo": "Pneumothorax"},
        },
        {"Pneumothorax": [0, 1]},
        ["png_images/0_.png", "png_images/1_.png"],
    ),
    "Shenzhen: names end in the class": Folder(
        ["CXR_png/CHNCXR_0001_0.png", "CXR_png/CHNCXR_0002_1.png", "mask/CHNCXR_0002_1_mask.png"],
        {"meta.csv": "study_id,findings\nCHNCXR_0001_0.png,normal\nCHNCXR_0002_1.png,PTB\n"},
        {
            "csv": "meta.csv",
            "path_column": "study_id",
            "label_column": "findings",
            "mapping": {"PTB": "Tuberculosis"},
        },
        {"Tuberculosis": [0, 1]},
        ["CXR_png/CHNCXR_0001_0.png", "CXR_png/CHNCXR_0002_1.png"],
    ),
    "Montgomery: films beside masks of each lung": Folder(
        ["MontgomerySet/CXR_png/M_1.png", "MontgomerySet/ManualMask/leftMask/M_1.png"],
        {},
        {},
        {},
        ["MontgomerySet/CXR_png/M_1.png"],
    ),
    "COVID-QU-Ex": Folder(
        QU_EX,
        {},
        {"class_folders": True},
        {"COVID-19": [1, 0, 0] * 3, "Non-COVID": [0, 1, 0] * 3},
        [path for path in QU_EX if "masks" not in path],
        ["test"] * 3 + ["train"] * 3 + ["val"] * 3,
    ),
    "COVID-19 Radiography Database": Folder(
        [f"{c}/{k}/{c}-1.png" for c in ("COVID", "Normal") for k in ("images", "masks")],
        {"COVID.metadata.xlsx": "PK"},
        {"class_folders": True},
        {"COVID": [1, 0]},
        ["COVID/images/COVID-1.png", "Normal/images/Normal-1.png"],
    ),
    "chest-xray-pneumonia": Folder(
        KERMANY,
        {"chest_xray/__MACOSX/._a.jpeg": ""},
        {"class_folders": True},
        {"Pneumonia": [0, 1] * 3},
        KERMANY,
        ["test", "test", "train", "train", "val", "val"],
    ),
    "NIH resized, as JPEG in a folder of its own": Folder(
        ["images-224/images-224/00000001_000.jpg", "images-224/images-224/00000002_000.jpg"],
        {
            "Data_Entry_2017.csv": NIH,
            "train_val_list_NIH.txt": "00000001_000.png",
            "test_list_NIH.txt": "00000002_000.png",
        },
        {},
        {"Mass": [1, 0], "Pleural Effusion": [1, 0], "Edema": [0, 0]},
        (),
        ["train", "test"],
        "nih14",
    ),
    "NIH's sample": Folder(
        ["sample/sample/images/00000001_000.png", "sample/sample/images/00000002_000.png"],
        {"sample_labels.csv": NIH},
        {"table": "sample_labels.csv", "without_official_split": True},
        {"Mass": [1, 0]},
        source="nih14",
    ),
    "MIMIC resized, its tables merged": Folder(
        ["files/p10/aa-0.jpg", "files/p10/aa-1.jpg", "files/p10/aa-2.jpg"],
        {"merged.csv": MIMIC},
        {
            "csv": "merged.csv",
            "patient_column": "subject_id",
            "study_column": "study_id",
            "view_column": "ViewPosition",
            "part_column": "split",
            "finding_columns": ("Atelectasis", "Edema"),
        },
        {"Atelectasis": [1, NAN, -1], "Edema": [NAN, 0, NAN]},
        (),
        ["train", "val", "test"],
    ),
    "CheXpert small, its films in another folder": Folder(
        ["images/train/patient00001/study1/view1_frontal.jpg"],
        {
            "train.csv": f"{CHEXPERT}CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,"
            "Female,68,Frontal,AP,-1.0,1.0\n"
        },
        {},
        {"Edema": [-1], "Cardiomegaly": [1]},
        (),
        ["train"],
        "chexpert",
    ),
    "BIMCV: a patient's folder, no table of films": Folder(
        ["sub-S03000/ses-E1/mod-rx/a.png", "sub-S03000/ses-E2/mod-rx/b.png"],
        {},
        {"patient_pattern": r"(sub-S\d+)/"},
        {},
    ),
    "PadChest resized": Folder(
        ["images-224/a0.png", "images-224/a1.png"],
        {"PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv": PADCHEST},
        {},
        {"Cardiomegaly": [0, 1], "Pleural Effusion": [0, 1]},
        source="padchest",
    ),
    "one column a class": Folder(
        ["train/0.jpg", "train/1.jpg", "train/2.jpg"],
        {
            "train/_classes.csv": "filename, COVID, Pneumonia\n0.jpg, 1, 0\n1.jpg, 0, 1\n2.jpg, 0, 0\n"
        },
        {
            "csv": "train/_classes.csv",
            "path_column": "filename",
            "path_folder": "train",
            "finding_columns": ("COVID", "Pneumonia"),
        },
        {"COVID": [1, 0, 0], "Pneumonia": [0, 1, 0]},
    ),
    "numbers of classes": Folder(
        ["0.png", "1.png", "2.png"],
        {"labels.csv": "file,label\n0.png,0\n1.png,1\n2.png,2\n"},
        {
            "csv": "labels.csv",
            "path_column": "file",
            "label_column": "label",
            "mapping": {"0": "", "1": "Pneumonia", "2": "COVID-19"},
        },
        {"COVID-19": [0, 0, 1], "Pneumonia": [0, 1, 0]},
    ),
    "Open-i: no labels in the table of films": Folder(
        ["images/images_normalized/1_IM-1.dcm.png", "images/images_normalized/1_IM-2.dcm.png"],
        {"p.csv": "uid,filename,projection\n1,1_IM-1.dcm.png,Frontal\n1,1_IM-2.dcm.png,Lateral\n"},
        {
            "csv": "p.csv",
            "path_column": "filename",
            "patient_column": "uid",
            "view_column": "projection",
        },
        {},
    ),
    "COVIDx's list with a header": Folder(
        ["train/a.png", "train/b.png", "test/a1.png"],
        {"t.csv": "patientid,filename,class,source\n1,a.png,positive,x\n2,b.png,negative,x\n"},
        {
            "csv": "t.csv",
            "path_column": "filename",
            "patient_column": "patientid",
            "finding_columns": ("class",),
            "mapping": {"class": "COVID-19"},
        },
        {"COVID-19": [1, 0]},
        ["train/a.png", "train/b.png"],
    ),
    "covid-chestxray-dataset": Folder(
        ["images/0.jpg", "images/1.jpg", "images/2.jpg"],
        {
            "m.csv": "filename,finding,view\n0.jpg,Pneumonia/Viral/COVID-19,PA\n1.jpg,No Finding,L\n"
            "2.jpg,todo,AP\n"
        },
        {
            "csv": "m.csv",
            "path_column": "filename",
            "label_column": "finding",
            "separator": "/",
            "unstated_values": ("todo", "Unknown"),
            "view_column": "view",
        },
        {"COVID-19": [1, 0, NAN], "Pneumonia": [1, 0, NAN], "Viral": [1, 0, NAN]},
    ),
}


def laid_down(root: Path, films: Sequence[str], tables: Mapping[str, str]) -> Path:
    for path, text in {**dict.fromkeys(films, ""), **tables}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.mark.parametrize("name", READ)
def test_a_folder_is_read_right(tmp_path: Path, name: str) -> None:
    folder = READ[name]
    root = laid_down(tmp_path / "data", folder.films, folder.tables)
    catalog = read_source(folder.source, root, **folder.options)
    table = catalog.table
    assert table["path"].tolist() == list(folder.paths or folder.films)
    if folder.parts:
        assert table["part"].tolist() == list(folder.parts)
    assert set(folder.labels) <= set(catalog.findings)
    assert folder.source != "folder" or len(folder.labels) == len(catalog.findings)
    for finding, wanted in folder.labels.items():
        np.testing.assert_array_equal(table[finding], np.float32(wanted), err_msg=finding)
    assert catalog.rows_read == len(table) + sum(catalog.excluded.values())


def test_views_and_patients_of_those_that_have_them(tmp_path: Path) -> None:
    views = {
        "MIMIC resized, its tables merged": ["PA", "LATERAL", "AP"],
        "Open-i: no labels in the table of films": ["FRONTAL", "LATERAL"],
        "covid-chestxray-dataset": ["PA", "LATERAL", "AP"],
        "PadChest resized": ["PA", "LATERAL"],
    }
    for number, (name, wanted) in enumerate(views.items()):
        folder = READ[name]
        root = laid_down(tmp_path / str(number), folder.films, folder.tables)
        table = read_source(folder.source, root, **folder.options).table
        assert table["view_position"].tolist() == wanted
    bimcv = READ["BIMCV: a patient's folder, no table of films"]
    root = laid_down(tmp_path / "bimcv", bimcv.films, {})
    assert read_source("folder", root, **bimcv.options).table["patient"].nunique() == 1


LABELLED = {"csv": "t.csv", "path_column": "file", "label_column": "label"}
REFUSED: dict[str, tuple[list[str], dict[str, str], dict[str, Any], str, str]] = {
    "COVIDx's lists": (
        ["train/a.png"],
        {"t.csv": "1 a.png positive bimcv\n2 b.png negative bimcv\n"},
        LABELLED,
        "folder",
        r"no header, its first line names 'a.png': write one above it.*commas between its columns",
    ),
    "a list with commas and no header": (
        ["a.png"],
        {"t.csv": "a.png,1\nb.png,0\n"},
        LABELLED,
        "folder",
        r"no header, its first line names 'a.png': write one above it.*--path-column",
    ),
    "ChestX-Det": (
        ["0.png"],
        {"t.json": '[{"file_name": "0.png", "syms": ["Effusion"], "boxes": []}]'},
        {**LABELLED, "csv": "t.json"},
        "folder",
        r"is JSON and no CSV: write it as a table",
    ),
    "SIIM's run lengths": (
        ["1.2.1.png"],
        {"t.csv": "ImageId, EncodedPixels\n1.2.1,557374 2 1015 8\n"},
        {"csv": "t.csv", "path_column": "ImageId", "finding_columns": ("EncodedPixels",)},
        "folder",
        r"'557374 2 1015 8' in column 'EncodedPixels' is not a label",
    ),
    "VinDr without joining": (
        ["train/50a4.png"],
        {"t.csv": VINDR},
        {"csv": "t.csv", "path_column": "image_id", "label_column": "class_name"},
        "folder",
        r"has two rows.*--join any, majority or uncertain",
    ),
    "numbers of classes without names": (
        ["0.png"],
        {"t.csv": "file,label\n0.png,2\n1.png,3\n"},
        LABELLED,
        "folder",
        r"holds 2, 3 where names of classes are read: name each by --mapping.2 FINDING",
    ),
    "numbers of classes as a finding": (
        ["0.png"],
        {"t.csv": "file,label\n0.png,1\n1.png,2\n"},
        {"csv": "t.csv", "path_column": "file", "finding_columns": ("label",)},
        "folder",
        r"'2' in column 'label' is not a label.*--label-column and --mapping",
    ),
    "a classless folder among classes": (
        ["imgs/health/h.png", "imgs/tb/t.png", "imgs/test/0.png"],
        {},
        {"class_folders": True},
        "folder",
        r"1 film outside class folders, first 'imgs/test/0.png': put each below",
    ),
    "parquet": (
        ["data/train-0.parquet"],
        {},
        {},
        "folder",
        r"holds \.parquet files: write each picture",
    ),
    "still packed": (["images.zip", "notes.txt"], {}, {}, "folder", r"holds \.zip files: unpack"),
    "NIH's archives as they were fetched": (
        ["images_001.tar.gz", "images_002.tar.gz"],
        {"Data_Entry_2017.csv": NIH, "test_list.txt": "00000002_000.png"},
        {},
        "nih14",
        r"looked for '00000001_000.png', no film is there. It holds .gz files: unpack them",
    ),
    "COVIDx's words as classes": (
        ["a.png", "b.png"],
        {"t.csv": "file,label\na.png,positive\nb.png,negative\n"},
        LABELLED,
        "folder",
        r"holds negative, positive where names of classes are read: name each by --mapping",
    ),
    "MIMIC's tables merged, read as mimic": (
        ["files/p10/aa-0.jpg"],
        {"merged.csv": MIMIC},
        {},
        "mimic",
        r"looked for mimic-cxr-2.0.0-metadata.csv",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_folder_is_refused_in_a_line_with_a_way_out(tmp_path: Path, name: str) -> None:
    films, tables, options, source, words = REFUSED[name]
    root = laid_down(tmp_path / "data", films, tables)
    with pytest.raises(HilumError, match=words) as error:
        read_source(source, root, **options)
    assert "\n" not in str(error.value)
