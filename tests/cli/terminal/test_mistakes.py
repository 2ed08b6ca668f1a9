"""Every user mistake has its one line: what, the value, what is allowed, the remedy; and never a traceback."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

USAGE = {
    "no such command": (
        "finetun",
        "unknown command 'finetun'",
        "Did you mean 'finetune'? See hilum --help.",
    ),
    "option before the command": ("--json finetune", "the command comes before --json", "finetune"),
    "no such method": ("pretrain mocco --data s --out o", "unknown method 'mocco'", "moco"),
    "no method": ("pretrain --data s --out o", "the method comes before --data", "moco"),
    "no such source": (
        "prepare chexprt r --out o --size 32",
        "unknown source 'chexprt'",
        "Did you mean 'chexpert'?",
    ),
    "no such option": (
        "finetune --data s --out o --train.lrr 1",
        "unknown option --train.lrr",
        "Did you mean --train.lr?",
    ),
    "no such option with =": (
        "finetune --data s --out o --sede=1",
        "unknown option --sede",
        "See hilum finetune",
    ),
    "option of another method": (
        "pretrain moco --data s --out o --prototypes 9",
        "unknown option --prototypes",
        "moco",
    ),
    "value missing": (
        "finetune --data s --out",
        "--out needs a value",
        "See hilum finetune --help.",
    ),
    "no value of several": (
        "finetune --data --out o",
        "--data needs a value",
        "See hilum finetune --help.",
    ),
    "option missing": ("finetune --data s", "--out is missing", "See hilum finetune --help."),
    "argument missing": ("evaluate --data s", "RUN is missing", "See hilum evaluate --help."),
    "films missing": ("predict run --out o", "FILM is missing", "See hilum predict --help."),
    "features of nothing": (
        "embed --data s --out o",
        "SUBJECT is missing",
        "See hilum embed --help.",
    ),
    "argument too many": (
        "evaluate run other --data s",
        "unexpected argument 'other'",
        "See hilum evaluate --help.",
    ),
    "twice": (
        "finetune --data s --out o --fraction 1 --fraction 0.1",
        "--fraction is given twice",
        "once",
    ),
    "no number": (
        "finetune --data s --out o --fraction ten",
        "--fraction is 'ten'",
        "allowed is a number",
    ),
    "no whole number": (
        "finetune --data s --out o --train.epochs 1.5",
        "--train.epochs is '1.5'",
        "a whole number",
    ),
    "no whole number, optional": (
        "prepare nih14 r --out o --size 64 --workers 2.5",
        "--workers is '2.5'",
        "whole",
    ),
    "no switch": (
        "finetune --data s --out o --freeze=maybe",
        "--freeze is 'maybe'",
        "true or false",
    ),
    "no such choice": (
        "finetune --data s --out o --train.schedule step",
        "--train.schedule is 'step'",
        "onecycle",
    ),
    "no such precision": (
        "finetune --data s --out o --train.precision fp8",
        "'fp8'",
        "32, bf16-mixed, 16-mixed",
    ),
    "no such split": (
        "evaluate run --data s --split tset",
        "--split is 'tset'",
        "test, val, train, official-test, all",
    ),
    "group as option": ("finetune --data s --out o --train 5", "--train is '5'", "--train.epochs"),
    "finding without a name": (
        "finetune --data s --out o --labels.per-finding ones",
        "'ones'",
        "Edema ones",
    ),
}
"""What is typed, what the line says is wrong, and what it says is allowed or to be done; all exit
2."""

OPTIONS = {
    "no such policy": (
        "finetune --data {store} --out {new} --labels.uncertain zeroes",
        "'zeroes'",
        "'zeros'",
    ),
    "no such policy of a finding": (
        "finetune --data {store} --out {new} --labels.per-finding.Edema two",
        "'two'",
        "zeros, ones, ignore",
    ),
    "unknown finding": (
        "finetune --data {store} --out {new} --labels.per-finding.Edemma ones",
        "'Edemma'",
        "Did you mean 'Edema'?",
    ),
    "no such enhancement": (
        "prepare chexpert {phantoms} --out {new} --size 32 --enhance papper",
        "'papper'",
        "'paper'",
    ),
    "no such fit": (
        "prepare chexpert {phantoms} --out {new} --size 32 --fit crop",
        "'crop'",
        "squash, pad",
    ),
    "no such views": (
        "prepare chexpert {phantoms} --out {new} --size 32 --views lateral",
        "'lateral'",
        "all, frontal",
    ),
    "no such prevalence": ("phantom {new} --prevalence evn", "'evn'", "Did you mean 'even'?"),
    "no such backbone": (
        "pretrain moco --data {store} --out {new} --backbone resnet-18",
        "'resnet-18'",
        "resnet18",
    ),
    "no such init": (
        "finetune --data {store} --out {new} --init {new}/none",
        "no weights file",
        "random, imagenet, a run",
    ),
    "fraction out of range": (
        "finetune --data {store} --out {new} --fraction 1.5",
        "--fraction is 1.5",
        "0.1",
    ),
    "fraction that is no number": (
        "finetune --data {store} --out {new} --fraction nan",
        "--fraction is nan",
        "0.1",
    ),
    "size out of range": ("prepare chexpert {phantoms} --out {new} --size 0", "0", "size"),
    "patience out of range": (
        "prepare chexpert {phantoms} --out {new} --size 32 --patience 0",
        "patience is 0.0",
        "above 0",
    ),
    "seed too large": (
        "finetune --data {store} --out {new} --train.seed 9999999999",
        "--train.seed is",
        "0 to 42949",
    ),
    "resamples out of range": (
        "evaluate {new} --data {store} --resamples -1",
        "--resamples is -1",
        "0 or more",
    ),
    "seed out of range": ("evaluate {new} --data {store} --seed -1", "--seed is -1", "0 or more"),
    "prevalence in percent": (
        "evaluate {new} --data {store} --prevalence 5",
        "--prevalence is 5.0",
        "0.05",
    ),
    "bands that fall": (
        "evaluate {new} --data {store} --age-bands 60 40",
        "--age-bands is",
        "40 60 80",
    ),
    "neighbours out of range": (
        "probe random --data {store} --neighbours 0",
        "--neighbours is 0",
        "1 or more",
    ),
    "probe's size out of range": (
        "probe random --data {store} --size 0",
        "--size is 0",
        "16 or more",
    ),
    "size of features out of range": (
        "embed random --data {store} --out {new}.parquet --size 8",
        "--size is 8",
        "16 or more",
    ),
    "features into a folder": (
        "embed random --data {store} --out {store}",
        "a folder",
        "features.parquet",
    ),
    "features into another file": (
        "embed random --data {store} --out {store}/catalog.parquet",
        "did not write",
        "another name",
    ),
    "features of no run": (
        "embed {new} --data {store} --out {new}.parquet",
        "no weights file",
        "random, imagenet, a run",
    ),
    "table that leaves the root": (
        "prepare nih14 {phantoms} --out {new} --size 32 --table ../x.csv",
        "'../x.csv'",
        "leaves the root",
    ),
    "tag of a backbone": (
        "finetune --data {store} --out {new} --backbone resnet18.x",
        "'resnet18.x'",
        "choose another",
    ),
    "share out of range": ("split {store} --test 1.2", "--test 1.2", "0 to 1"),
    "shard out of range": (
        "prepare chexpert {phantoms} --out {new} --size 32 --shard 3/2",
        "3/2",
        "i/n",
    ),
    "no store": ("finetune --data {phantoms} --out {new}", "is no finished store", "hilum prepare"),
    "store that is not there": ("split {new}/none", "is no finished store", "hilum prepare"),
    "no run": ("evaluate {store} --data {store}", "{store}", "run"),
    "wrong root": ("prepare chexpert {store} --out {new} --size 32", "{store}", "train.csv"),
    "root of another source": (
        "prepare nih14 {phantoms} --out {new} --size 32",
        "{phantoms}",
        "Data_Entry_2017",
    ),
    "root that is not there": (
        "prepare folder {new}/none --out {new} --size 32",
        "does not exist",
        "folder",
    ),
    "out is the store of other options": (
        "prepare chexpert {phantoms} --out {store} --size 16",
        "size 32 there",
        "--out",
    ),
    "out is something else": (
        "prepare chexpert {phantoms} --out {phantoms} --size 32",
        "{phantoms}",
        "--out",
    ),
    "phantoms of other options": (
        "phantom {phantoms} --count 5",
        "other options",
        "another folder",
    ),
    "run into a folder of something else": (
        "finetune --data {store} --out {phantoms}",
        "is no run",
        "--out",
    ),
    "no such config": (
        "finetune --data {store} --out {new} --config smal",
        "'smal'",
        "Did you mean 'small'?",
    ),
}
"""The same, where the mistake shows only against the data; all exit 1. ``{store}`` and so on are
folders."""


def assert_one_line(said, code: int, *parts: str) -> None:
    assert (said.code, said.out) == (code, "")
    *notes, line = said.err.splitlines()
    assert line.startswith("hilum")
    assert ": " in line
    for part in parts:
        assert part in line
    assert not any("Traceback" in text or text.startswith("hilum ") for text in notes)
    assert "fault of the program" not in line


@pytest.mark.parametrize("name", USAGE)
def test_usage_mistake(hilum, name):
    words, *parts = USAGE[name]
    said = hilum(*words.split())
    assert_one_line(said, 2, *parts)
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("name", OPTIONS)
def test_mistake_against_the_data(hilum, name, store, phantoms, tmp_path):
    folders = {"store": store, "phantoms": phantoms, "new": tmp_path / "new"}
    words, *parts = (text.format(**folders) for text in OPTIONS[name])
    assert_one_line(hilum(*words.split()), 1, *parts)


def test_unknown_key_of_a_config(hilum, tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("finetune: {train: {epoch: 3}}\n")
    said = hilum("finetune", "--data", "s", "--out", "o", "--config", path)
    assert_one_line(
        said, 2, f"{path} has the unknown key train.epoch.", "Did you mean train.epochs?"
    )


def test_unknown_block_of_a_config(hilum, tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("fine-tune: {train: {epochs: 3}}\n")
    said = hilum("finetune", "--data", "s", "--out", "o", "--config", path)
    assert_one_line(
        said, 1, f"{path} has the unknown block 'fine-tune'", "Did you mean 'finetune'?"
    )


def test_wrong_value_in_a_config(hilum, tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("finetune: {train: {epochs: many}}\n")
    said = hilum("finetune", "--data", "s", "--out", "o", "--config", path)
    assert_one_line(said, 2, f"train.epochs in {path} is 'many'", "a whole number")


def without_column(root: Path) -> None:
    table = pd.read_csv(root / "train.csv", dtype=str, keep_default_na=False)
    table.drop(columns="Path").to_csv(root / "train.csv", index=False)


def with_row_twice(root: Path) -> None:
    table = pd.read_csv(root / "train.csv", dtype=str, keep_default_na=False)
    pd.concat([table, table.tail(1)]).to_csv(root / "train.csv", index=False)


def with_path_outside(root: Path) -> None:
    table = pd.read_csv(root / "train.csv", dtype=str, keep_default_na=False)
    table.loc[0, "Path"] = "CheXpert-v1.0-small/../../../etc/passwd"
    table.to_csv(root / "train.csv", index=False)


def with_odd_label(root: Path) -> None:
    table = pd.read_csv(root / "train.csv", dtype=str, keep_default_na=False)
    table.loc[0, "Edema"] = "perhaps"
    table.to_csv(root / "train.csv", index=False)


def without_films(root: Path) -> None:
    shutil.rmtree(root / "train")
    shutil.rmtree(root / "valid")


BROKEN: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "missing column": (without_column, ["'Path'", "train.csv"]),
    "duplicate rows": (with_row_twice, ["two rows", "keep one row a film"]),
    "path leaving the root": (with_path_outside, ["etc/passwd", "train.csv"]),
    "unknown label value": (with_odd_label, ["'perhaps'", "Edema"]),
    "no film left": (without_films, ["no film is left", "not on disk"]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_data_set(hilum, name, phantoms, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(phantoms, root)
    spoil, parts = BROKEN[name]
    spoil(root)
    said = hilum(
        "prepare", "chexpert", root, "--out", tmp_path / "store", "--size", 32, "--workers", 1
    )
    assert_one_line(said, 1, *parts)
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_unknown_finding_of_nih14(hilum, tmp_path):
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    )
    (tmp_path / "Data_Entry_2017.csv").write_text(f"{header}\n1.png,Edemma,0,1,40,M,PA\n")
    (tmp_path / "test_list.txt").write_text("1.png\n")
    said = hilum("prepare", "nih14", tmp_path, "--out", tmp_path / "store", "--size", 32)
    assert_one_line(said, 1, "'Edemma'", "Did you mean 'Edema'?")


def test_column_that_the_folders_table_lacks(hilum, tmp_path):
    (tmp_path / "labels.csv").write_text("file,Edema\na.png,1\n")
    said = hilum(
        "prepare",
        "folder",
        tmp_path,
        "--csv",
        "labels.csv",
        "--out",
        tmp_path / "store",
        "--size",
        32,
    )
    assert_one_line(said, 1, "'path'", "labels.csv")


def test_file_in_place_of_a_folder(hilum, tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    assert_one_line(
        hilum("prepare", "chexpert", file, "--out", tmp_path / "s", "--size", 32), 1, "is a file"
    )


def test_folder_that_cannot_be_made(hilum, tmp_path, phantoms):
    (tmp_path / "file").write_text("x")
    said = hilum(
        "prepare",
        "chexpert",
        phantoms,
        "--out",
        tmp_path / "file" / "s",
        "--size",
        32,
        "--workers",
        1,
    )
    assert_one_line(said, 1, str(tmp_path / "file"))
