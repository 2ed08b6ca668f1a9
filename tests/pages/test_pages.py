"""The page: self-contained, complete, true to the files, escaped, and built again from the folder."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from hilum.cli import main
from hilum.errors import RunError
from hilum.files import OWN_HASH, write_hashed_json
from hilum.images.store_writing import write_manifest
from hilum.pages.pages import run_page, write_report
from hilum.pages.read import read_run

EVIL = '<b onclick="x">Edema</b>'


FEW, ALL = "runs/moco-10-ignore-seed-0", "runs/moco-100-ignore-seed-0"


@pytest.fixture(scope="session")
def page(demo_folder: Path) -> str:
    return run_page(demo_folder / ALL)


def test_the_page_loads_nothing_and_runs_nothing(page, parsed):
    found = parsed(page)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(found.tags)
    assert all(address.startswith("data:image/jpeg;base64,") for address in found.loads)
    assert not found.handlers
    assert "@import" not in page
    assert "url(" not in page
    assert found.open == []
    assert page.count("Research use only, not a medical device.") == 2


def test_the_same_folder_gives_the_same_bytes_again(own_demo):
    run = own_demo / ALL
    assert write_report(run).report.read_bytes() == write_report(run).report.read_bytes()


def test_the_command_builds_the_page_again_and_ends_with_its_path(own_demo, capsys):
    assert main(["report", str(own_demo)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(own_demo / "report.html")
    assert main(["report", str(own_demo / FEW), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"report": str(own_demo / FEW / "report.html"), "kind": "run"}


def test_names_from_data_are_escaped(own_demo, parsed):
    rename(own_demo, "Edema", EVIL)
    text = run_page(own_demo / ALL)
    found = parsed(text)
    assert EVIL in found.words
    assert EVIL not in text
    assert not found.handlers


def rename(folder: Path, old: str, new: str) -> None:
    """Give a finding another name in every file of a demo."""
    for path in folder.rglob("*.json"):
        text = path.read_text("utf-8").replace(json.dumps(old), json.dumps(new))
        path.write_text(text, "utf-8")
        if OWN_HASH in (content := json.loads(text)):
            write_hashed_json(path, content)
    table = folder / "store/catalog.parquet"
    pd.read_parquet(table).rename(columns={old: new}).to_parquet(table, index=False)
    write_manifest(folder / "store", json.loads((folder / "store/manifest.json").read_bytes()))


def test_missing_values_are_said_not_drawn(own_demo, plain):
    run = own_demo / FEW
    metrics = json.loads((run / "metrics.json").read_text("utf-8"))
    test = metrics["evaluations"]["test"]
    none = {"value": None, "interval": None, "left_out": 0, "reason": "no positives in this split"}
    first = next(iter(test["findings"].values()))
    first |= dict.fromkeys(("auroc", "average_precision", "f1"), none)
    test |= {
        "auroc_macro": None,
        "auroc_macro_interval": None,
        "auroc_macro_reason": "nothing is scored",
    }
    write_hashed_json(run / "metrics.json", metrics)
    text = plain(run_page(run))
    assert "not available" in text
    assert "no positives in this split" in text
    assert "nothing is scored" in text


def test_a_pretrained_run_has_its_curve_with_chance_and_no_measures(demo_folder, plain):
    text = run_page(demo_folder / "runs/moco-pretrain")
    assert ">chance<" in text
    chance = read_run(demo_folder / "runs/moco-pretrain").chance
    assert chance == pytest.approx(
        math.log(read_run(demo_folder / "runs/moco-pretrain").options["method"]["queue_size"] + 1)
    )
    assert "calls no findings" in plain(text)
    assert "queue_size" in text


def test_a_log_without_chance_has_no_line_of_it(own_demo):
    log = own_demo / "runs/moco-pretrain/log.jsonl"
    lines = log.read_text("utf-8").splitlines(keepends=True)
    assert sum('"chance"' in line for line in lines) == 1
    log.write_text("".join(line for line in lines if '"chance"' not in line), "utf-8")
    assert ">chance<" not in run_page(own_demo / "runs/moco-pretrain")


def test_a_run_that_is_not_measured_says_how(own_demo, plain):
    run = own_demo / FEW
    metrics = json.loads((run / "metrics.json").read_text("utf-8"))
    (run / "metrics.json").write_text(json.dumps({"training": metrics["training"]}), "utf-8")
    text = plain(run_page(run))
    assert f"hilum evaluate {run.name} --data STORE" in text
    assert f"--config {run.name}/options.yaml --out NEW" in text


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda run: (run / "options.yaml").unlink(), "holds no study, run or data card"),
        (lambda run: (run / "metrics.json").write_text("{"), "is damaged"),
        (lambda run: (run / "options.yaml").write_text("- 1"), "options.yaml is damaged"),
    ],
)
def test_what_is_missing_or_damaged_is_one_clear_line(own_demo, spoil, line):
    spoil(own_demo / FEW)
    with pytest.raises(RunError, match=line) as caught:
        write_report(own_demo / FEW)
    assert "\n" not in str(caught.value)
    assert not (own_demo / FEW / "report.html").exists()


def test_another_folder_is_refused(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 1
    assert "holds no study, run or data card" in capsys.readouterr().err
