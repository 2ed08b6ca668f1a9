"""The page: self-contained, complete, true to the files, escaped, and built again from the folder."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pandas as pd
import pytest

from hilum.cli import main
from hilum.errors import DataError, RunError
from hilum.report.pages import demo_page, run_page, write_report
from hilum.report.read import read_demo, read_run
from hilum.report.wording import difference

SECTIONS = [
    "data", "workflow", "samples", "labels", "results", "findings", "training", "gallery", "limits", "repeat",
]  # fmt: skip
EVIL = '<b onclick="x">Edema</b>'


@pytest.fixture(scope="session")
def page(demo_folder: Path) -> str:
    return demo_page(demo_folder)


def test_the_page_loads_nothing_and_runs_nothing(page, demo_folder, parsed):
    for text in (page, run_page(demo_folder / "runs/moco-100")):
        found = parsed(text)
        assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(found.tags)
        assert all(address.startswith("data:image/jpeg;base64,") for address in found.loads)
        assert not found.handlers
        assert "@import" not in text
        assert "url(" not in text
        assert found.open == []


def test_the_page_is_small_and_has_every_section(page, parsed):
    assert len(page) < 10_000_000
    assert [name for name in parsed(page).ids if name in SECTIONS] == SECTIONS
    assert page.count("Research use only, not a medical device.") == 2


def test_the_table_has_the_numbers_of_the_runs(page, demo_folder, plain):
    text = plain(page)
    for model in read_demo(demo_folder).models:
        value, (low, high) = model.test["auroc_macro"], model.test["auroc_macro_interval"]
        assert f"{value:.3f}{low:.3f} to {high:.3f}" in text
    for compared in json.loads((demo_folder / "demo.json").read_text())["comparisons"]:
        assert difference(compared["auroc_macro"]["value"]) in text


def test_differences_are_those_of_the_two_values(demo_folder):
    demo = read_demo(demo_folder)
    by_name = {(model.name, model.fraction): model.test["auroc_macro"] for model in demo.models}
    for compared in demo.comparisons:
        fraction = compared["fraction"]
        expected = by_name["MoCo", fraction] - by_name["from scratch", fraction]
        assert compared["auroc_macro"]["value"] == pytest.approx(expected)


def test_counts_of_the_data_are_on_the_page(page, demo_folder, plain):
    demo = read_demo(demo_folder)
    text = plain(page)
    assert f"100 films of {demo.store.catalog['patient'].nunique()} patients" in text
    assert f"{demo.pretrained.training['films']} films, no labels" in text
    assert "Of 100 rows read, 100 films were kept; excluded: none; failed: none." in text


def test_the_gallery_shows_every_film_with_pictures_and_all_probabilities(page, demo_folder, parsed):
    demo = read_demo(demo_folder)
    pictures = [address for address in parsed(page).loads if address.startswith("data:image/jpeg")]
    assert len(pictures) == 8 + len(demo.explained) * (2 + 2 * 3)
    assert page.count('class="chances"') == len(demo.explained) == 2
    table = page.partition('class="chances"')[2].partition("</table>")[0]
    assert all(f">{name}<" in table for name in demo.store.findings)


def test_found_missed_and_wrongly_called_follow_from_calls_and_truth(page, demo_folder, plain):
    demo = read_demo(demo_folder)
    text = plain(page)
    for path, told in demo.explained:
        row = list(demo.store.catalog["path"]).index(path)
        present = {name for name, label in zip(demo.store.findings, demo.store.labels[row], strict=True) if label == 1}
        missed = sorted(present - set(told["called"]), key=lambda name: -told["probabilities"][name])
        words = "none" if not missed else missed[0]
        assert f"Missed: {words}" in text


def test_the_same_folder_gives_the_same_bytes_wherever_it_lies(own_demo, page):
    assert write_report(own_demo).report.read_text("utf-8") == page


def test_the_command_builds_the_page_again_and_ends_with_its_path(own_demo, capsys):
    assert main(["report", str(own_demo)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(own_demo / "report.html")
    assert main(["report", str(own_demo / "runs/moco-10"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"report": str(own_demo / "runs/moco-10/report.html"), "kind": "run"}


def test_names_from_data_are_escaped(own_demo, parsed):
    rename(own_demo, "Edema", EVIL)
    for text in (demo_page(own_demo), run_page(own_demo / "runs/moco-100")):
        found = parsed(text)
        assert EVIL in found.words
        assert EVIL not in text
        assert not found.handlers


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def rename(folder: Path, old: str, new: str) -> None:
    """Give a finding another name in every file of a demo."""
    for path in folder.rglob("*.json"):
        path.write_text(path.read_text("utf-8").replace(json.dumps(old), json.dumps(new)), "utf-8")
    table = folder / "store/catalog.parquet"
    pd.read_parquet(table).rename(columns={old: new}).to_parquet(table, index=False)
    stem = new.casefold().replace(" ", "-").replace("/", "-")
    for path in folder.rglob(f"{old.casefold()}-*.png"):
        path.rename(path.with_name(path.name.replace(old.casefold(), stem, 1)))


def test_missing_values_are_said_not_drawn(own_demo, plain):
    run = own_demo / "runs/moco-10"
    metrics = json.loads((run / "metrics.json").read_text("utf-8"))
    test = metrics["evaluations"]["test"]
    none = {"value": None, "interval": None, "left_out": 0, "reason": "no positives in this split"}
    test["findings"]["Fracture"] |= dict.fromkeys(("auroc", "average_precision", "f1"), none)
    test |= {"auroc_macro": None, "auroc_macro_interval": None, "auroc_macro_reason": "nothing is scored"}
    (run / "metrics.json").write_text(json.dumps(metrics), "utf-8")
    for text in (plain(demo_page(own_demo)), plain(run_page(run))):
        assert "not available" in text
        assert "no positives in this split" in text
        assert "nothing is scored" in text


def test_a_pretrained_run_has_its_curve_with_chance_and_no_measures(demo_folder, plain):
    text = run_page(demo_folder / "runs/moco")
    assert ">chance<" in text
    chance = read_run(demo_folder / "runs/moco").chance
    assert chance == pytest.approx(math.log(read_run(demo_folder / "runs/moco").options["method"]["queue_size"] + 1))
    assert "calls no findings" in plain(text)
    assert "queue_size" in text


def test_a_log_without_chance_has_no_line_of_it(own_demo):
    log = own_demo / "runs/moco/log.jsonl"
    lines = log.read_text("utf-8").splitlines(keepends=True)
    assert sum('"chance"' in line for line in lines) == 1
    log.write_text("".join(line for line in lines if '"chance"' not in line), "utf-8")
    assert ">chance<" not in run_page(own_demo / "runs/moco")


def test_a_run_that_is_not_measured_says_how(own_demo, plain):
    run = own_demo / "runs/moco-10"
    metrics = json.loads((run / "metrics.json").read_text("utf-8"))
    (run / "metrics.json").write_text(json.dumps({"training": metrics["training"]}), "utf-8")
    assert f"hilum evaluate {run} --data STORE" in plain(run_page(run))
    assert f"--config {run}/options.yaml --out NEW" in plain(run_page(run))


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda demo: shutil.rmtree(demo / "runs/moco"), "holds neither a study, a demo nor a run"),
        (lambda demo: (demo / "runs/moco/metrics.json").unlink(), "runs/moco holds a run that is not finished"),
        (lambda demo: (demo / "runs/moco-10/metrics.json").write_text("{"), "is damaged"),
        (lambda demo: (demo / "runs/moco-10/options.yaml").write_text("- 1"), "damaged options.yaml"),
        (lambda demo: (demo / "demo.json").write_text("[]"), "is damaged"),
        (lambda demo: (demo / "demo.json").write_text('{"finished": false}'), "is not finished"),
        (lambda demo: (demo / "demo.json").write_text('{"finished": true}'), "is damaged"),
        (lambda demo: edit(demo / "demo.json", '"films": 100,', ""), "made by another version"),
        (lambda demo: shutil.rmtree(demo / "store"), "no finished store"),
        (lambda demo: shutil.rmtree(demo / "phantoms"), "cannot be read"),
        (lambda demo: [path.unlink() for path in demo.glob("explained/*/*-overlay.png")], "cannot be read"),
    ],
)
def test_what_is_missing_or_damaged_is_one_clear_line(own_demo, spoil, line):
    spoil(own_demo)
    with pytest.raises((RunError, DataError), match=line) as caught:
        write_report(own_demo)
    assert "\n" not in str(caught.value)
    assert not (own_demo / "report.html").exists()


def test_another_folder_is_refused(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 1
    assert "holds neither a study, a demo nor a run" in capsys.readouterr().err
