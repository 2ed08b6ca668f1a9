"""A study's page: self-contained, complete, true to its files, inert, silent about patients."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
import yaml

from hilum.cli import main
from hilum.errors import RunError
from hilum.metrics.intervals import Interval
from hilum.metrics.results import Difference
from hilum.pages.pages import study_page, write_report
from hilum.pages.study import results
from hilum.pages.study.model_card import nameless
from hilum.pages.study.read import read_study_folder
from hilum.pages.study.results import results_table
from hilum.pages.wording import NO_DIFFERENCE, difference
from hilum.workflows.study.record import read_study, write_study

SECTIONS = [
    "data", "samples", "labels", "preparation", "findings", "results", "enough-labels", "labels-used", "calibration",
    "operating", "subgroups", "training", "workflow", "failed", "limits", "card", "repeat",
]  # fmt: skip
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="session")
def page(study_folder: Path) -> str:
    return study_page(read_study_folder(study_folder))


@pytest.fixture(scope="session")
def analysis(study_folder: Path) -> dict:
    return json.loads((study_folder / "analysis.json").read_text())


def rewrite(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    content.pop("sha256", None)
    path.write_text(json.dumps(content))


def test_the_page_has_every_section_in_order_and_the_figures(page, parsed):
    assert [name for name in parsed(page).ids if name in SECTIONS] == SECTIONS
    assert set(re.findall(r"Fig\. (\d)", page)) == {"1", "2", "3", "4", "5", "7"}
    assert page.count("Research use only, not a medical device.") == 3


def test_the_page_loads_nothing_and_runs_only_its_own_script(page, parsed):
    found = parsed(page)
    assert not {"link", "iframe", "object", "embed", "base", "form"} & set(found.tags)
    assert found.tags.count("script") == 1
    assert all(
        re.match(r"data:(image/jpeg|text/csv;charset=utf-8);base64,", address)
        for address in found.loads
    )
    assert not found.handlers
    assert found.open == []
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert not re.search(r"innerHTML|eval|fetch|import|document\.write", script)


def test_the_page_is_small_and_equal_files_give_equal_bytes(page, study_folder):
    assert len(page) < 3_000_000
    assert study_page(read_study_folder(study_folder)) == page


def test_the_table_has_the_numbers_of_the_analysis(page, analysis, plain):
    text = plain(page)
    for row in analysis["models"]:
        value, (low, high) = row["auroc_macro"]["value"], row["auroc_macro"]["interval"]
        assert f"{value:.3f}{low:.3f} to {high:.3f}" in text
    for compared in analysis["comparisons"]:
        assert difference(compared["auroc_macro"]["value"]) in text


def test_better_and_no_difference_are_said_where_the_corrected_test_says_so(write_study_of, plain):
    for shown in (True, False):
        folder = write_study_of(policies=("ignore",))

        def set_shown(content, shown=shown):
            for one in content["comparisons"]:
                one["auroc_macro"] |= {"shown": shown, "p_holm": 0.001 if shown else 0.5}

        rewrite(folder / "analysis.json", set_shown)
        study = read_study_folder(folder)
        lead = plain(study_page(study)).partition("The data")[0]
        assert ("No difference shown: MoCo" in lead) is not shown
        assert bool(re.search(r"(Better|Worse): MoCo \([+−]0\.\d{3}\)", lead)) is shown
        shutil.rmtree(folder)


def test_models_are_not_called_the_reference_where_it_gave_no_numbers(write_study_of):
    folder = write_study_of()

    def lose_reference(content):
        content["comparisons"] = [one for one in content["comparisons"] if one["fraction"] != 0.1]
        lost = [
            row
            for row in content["models"]
            if (row["model"], row["fraction"]) == ("from scratch", 0.1)
        ]
        content["models"] = [row for row in content["models"] if row not in lost]

    rewrite(folder / "analysis.json", lose_reference)
    rows = results_table(read_study_folder(folder)).rows
    said = [(row[0].text, row[1].text, row[5].text) for row in rows]
    assert [one for one in said if one[1] == "10%"] == [("MoCo", "10%", "not compared")]
    assert ("from scratch", "100%", "the reference") in said


def test_counts_of_the_data_are_on_the_page(page, films, plain):
    catalog = pd.read_parquet(films / "catalog.parquet")
    text = plain(page)
    assert f"120 films of {catalog['patient'].nunique()} patients" in text
    assert "Of 123 rows read, 120 films were kept; excluded: 3 no view; failed: none." in text
    assert "Every film is denoised and equalised once" in text


def test_every_table_is_offered_in_the_page_and_written_as_the_same_csv(
    study_folder, tmp_path, parsed
):
    folder = shutil.copytree(study_folder, tmp_path / "study")
    result = write_report(folder)
    assert (result.kind, result.report) == ("study", folder / "report.html")
    offered = re.findall(
        r'download="([^"]+)" href="data:text/csv;charset=utf-8;base64,([^"]+)"',
        result.report.read_text(),
    )
    assert len(offered) > 20
    written = {path.name: path.read_bytes() for path in (folder / "tables").iterdir()}
    assert {name for name, _ in offered} == set(written)
    assert all(base64.b64decode(content) == written[name] for name, content in offered)
    assert all(len(pd.read_csv(StringIO(content.decode()))) for content in written.values())


def test_csv_has_the_numbers_in_full(study_folder, analysis, tmp_path):
    folder = shutil.copytree(study_folder, tmp_path / "study")
    write_report(folder)
    table = pd.read_csv(folder / "tables/results.csv")
    for row in (row for row in analysis["models"] if row["group"] == "main"):
        (found,) = table[
            (table.model == row["model"]) & (table.fraction == row["fraction"])
        ].to_dict("records")
        assert found["auroc_macro"] == row["auroc_macro"]["value"]
        assert [found["auroc_macro_low"], found["auroc_macro_high"]] == row["auroc_macro"][
            "interval"
        ]
        assert found["seeds"] == len(row["seeds"])
        assert pd.isna(found["difference"]) == (row["model"] == "from scratch")


def test_what_is_not_available_is_said_in_words(page, plain):
    text = plain(page)
    assert "not available" in text
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", text)
    assert "fewer than 50 patients" in text


def test_markup_in_names_stays_inert(write_films, write_study_of, parsed):
    store = write_films(
        source=f"chexpert-{EVIL.replace('/', '')}", findings=(EVIL, "=1+1", '" onload="x', "Edema")
    )
    folder = write_study_of(store, models=(f"MoCo {EVIL}", "from scratch"), failed=f"{EVIL} broke")
    write_report(folder)
    text = (folder / "report.html").read_text()
    found = parsed(text)
    assert found.tags.count("script") == 1
    assert "<script>alert" not in text
    assert not found.handlers
    assert found.open == []
    assert f"{EVIL} broke" in found.words
    assert f"MoCo {EVIL}" in found.words
    assert "'=1+1" in (folder / "tables/labels.csv").read_text()


def test_a_path_with_markup_stays_inert(write_study_of, films, tmp_path, parsed):
    folder = write_study_of().rename(tmp_path / "<img src=x onerror=alert(1)>")
    found = parsed(study_page(read_study_folder(folder)))
    assert not found.handlers
    assert "hilum report '<img src=x onerror=alert(1)>'" in found.words


def test_a_demo_is_repeated_by_its_own_command(write_study_of, plain):
    folder = write_study_of()
    assert "hilum study --data" in plain(study_page(read_study_folder(folder)))
    (folder / "demo.json").write_text('{"seed": 7, "full": true}')
    text = plain(study_page(read_study_folder(folder)))
    assert "hilum demo --out NEW --full --seed 7" in text
    assert "hilum study --data" not in text


def test_no_patient_is_named(write_study_of, films):
    folder = write_study_of(
        failed="train/patient00007/view14.png is cut, of patient 'patient00007' and of 'x'; patient00008 as well."
    )
    write_report(folder)
    texts = [
        (folder / "report.html").read_text(),
        *(path.read_text() for path in (folder / "tables").iterdir()),
    ]
    assert not any(re.search(r"patient\d", text) for text in texts)
    assert (
        "(a film) is cut, of patient (a patient) and of &#39;x&#39;; (a patient) as well."
        in texts[0]
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("patient 7/film.png is cut at step 7.", "(a film) is cut at step 7."),
        ("/my sets/x/patient 7/film.png is cut.", "(a film) is cut."),
        ("patient 7/other.png is cut.", "(a film) is cut."),
        ("Ann Roe and Ann Roes are 'Ann Roe'.", "(a patient) and Ann Roes are (a patient)."),
        ("The loss became NaN at step 40, '40'.", "The loss became NaN at step 40, (a patient)."),
        ("Patients 40 and 0.40 are twice there.", "Patients (a patient) and 0.40 are twice there."),
        ("Patient 1234567 or 12345678.", "Patient (a patient) or 12345678."),
        ("1234567 is there twice.", "(a patient) is there twice."),
        ("A (a film) of a patient.", "(a patient) ((a patient) film) of (a patient) patient."),
        (
            "/data/store holds no films. Get x.png again.",
            "/data/store holds no films. Get (a film) again.",
        ),
    ],
)
def test_patients_that_are_known_are_left_out_of_errors(line, said):
    patients = {"patient 7", "Ann Roe", "40", "1234567", *("aA" if line.startswith("A ") else ())}
    assert nameless(line, patients, {"patient 7/film.png", "Ann Roe/1.png"}) == said


def test_a_run_over_other_findings_than_the_means_across_runs_says_so(write_study_of, plain):
    folder = write_study_of()
    assert "unlike the means across runs" not in plain(study_page(read_study_folder(folder)))
    rewrite(
        folder / "analysis.json",
        lambda content: content["test"]["findings_scored"].append("Fracture"),
    )
    text = plain(study_page(read_study_folder(folder)))
    clause = ", without Fracture, unlike the means across runs"
    assert f"over 6 findings{clause}, on" in text
    assert f"its mean AUROC over all test films{clause}." in text


def test_the_degree_of_the_smooth_policy_stands_beside_it(write_study_of, plain):
    folder = write_study_of(policies=("ignore", "smooth"))
    for path in (folder / "runs").glob("*/options.yaml"):
        options = yaml.safe_load(path.read_text())
        if "finetune" in options:
            options["finetune"]["labels"] = {"smooth": 0.65}
            path.write_text(yaml.safe_dump(options))
    text = plain(study_page(read_study_folder(folder)))
    assert "smooth: uncertain counts as present to a degree of 0.65" in text
    assert "ignore: uncertain has no weight" in text


def test_seeds_that_failed_are_marked(write_study_of):
    folder = write_study_of(failed=None)
    told = json.loads((folder / "analysis.json").read_text("utf-8"))
    seeds = len(told["models"][0]["seeds"])
    told["models"][0]["seeds_planned"] = seeds + 2
    (folder / "analysis.json").write_text(json.dumps(told), "utf-8")
    texts = [cell.text for row in results_table(read_study_folder(folder)).rows for cell in row]
    assert texts.count(f"{seeds} of {seeds + 2}") == 1


def test_what_could_not_be_worked_out_is_said_without_naming_films(write_study_of, plain):
    folder = write_study_of(failed=None)
    record = read_study(folder)
    write_study(
        replace(
            record, faults=("where the models look: masks/patient00012/view1.png cannot be read",)
        )
    )
    text = plain(study_page(read_study_folder(folder)))
    assert "Not worked out" in text
    assert "where the models look: (a film) cannot be read" in text


def test_a_failed_run_is_shown_with_its_error(page, plain):
    assert "The loss became NaN at step 40: lower --train.lr." in plain(page).replace("nan", "")


def test_the_card_is_of_the_model_that_validation_films_like_best(write_study_of, plain):
    folder = write_study_of()

    def prefer_scratch(content):
        for cell in content["cells"]:
            cell["validation_auroc"] = (
                0.99 if cell["model"] == "from scratch" and cell["seed"] == 1 else 0.7
            )

    rewrite(folder / "study.json", prefer_scratch)
    text = plain(study_page(read_study_folder(folder)))
    assert "Modelfrom scratch, resnet10t, 100% of the labels, seed 1" in text
    assert "Reliability of from scratch with 100% of the labels, seed 1" in text


def test_limits_are_those_of_this_study(page, plain, write_study_of, write_films):
    text = plain(page)
    assert "2 seeds." in text
    assert "Labels mined from reports." in text
    assert "32 px." in text
    assert "Fewer than 50 test patients have No Finding (30)" in text
    assert "MoCo 4 epochs over" in text
    assert "One pretraining a model." in text
    drawn = write_study_of(write_films(source="phantoms-1"), seeds=6)
    text = plain(study_page(read_study_folder(drawn)))
    assert "Phantoms are drawings." in text
    assert "Labels mined" not in text
    assert "6 seeds." not in text


def test_models_with_passes_of_their_own_are_named(write_study_of, plain):
    folder = write_study_of()
    rewrite(
        folder / "study.json",
        lambda content: content["plan"].update(
            models={
                "MoCo": {"pretrain": "moco"},
                "from scratch": {"init": "random", "epochs": {"0.1": 8}},
            }
        ),
    )
    text = plain(study_page(read_study_folder(folder)))
    assert "the same for all, but for the epochs of from scratch." in text


def test_a_mean_over_other_findings_is_named(write_study_of, plain):
    folder = write_study_of()
    assert "Means over fewer findings." not in plain(study_page(read_study_folder(folder)))

    def lose(content):
        row = next(
            row for row in content["models"] if (row["model"], row["fraction"]) == ("MoCo", 0.1)
        )
        row["findings_scored"] = content["test"]["findings_scored"][1:]

    rewrite(folder / "analysis.json", lose)
    assert "MoCo on 10% of the labels had no label of some finding" in plain(
        study_page(read_study_folder(folder))
    )


def test_tables_of_an_earlier_page_are_not_left_behind(write_study_of):
    folder = write_study_of()
    write_report(folder)
    assert (folder / "tables/failed-runs.csv").is_file()

    def forget(content):
        content["cells"] = [cell for cell in content["cells"] if cell["state"] != "failed"]

    rewrite(folder / "study.json", forget)
    write_report(folder)
    assert not (folder / "tables/failed-runs.csv").exists()
    assert (folder / "tables/results.csv").is_file()


def test_a_study_without_numbers_yet_says_so(write_study_of, plain, parsed):
    folder = write_study_of(finished=False)
    (folder / "analysis.json").unlink()

    def begin_again(content):
        for cell in content["cells"][3:]:
            cell.update(state="waiting", chosen=False)

    rewrite(folder / "study.json", begin_again)
    text = study_page(read_study_folder(folder))
    assert "Not finished: 3 runs done" in plain(text)
    assert "Nothing is compared yet" in plain(text)
    assert "none of the labels" not in plain(text)
    assert "results" not in parsed(text).ids


def test_a_study_that_has_just_begun_has_a_page(write_study_of, plain):
    folder = write_study_of(finished=False, failed=None)
    (folder / "analysis.json").unlink()
    rewrite(
        folder / "study.json",
        lambda content: [cell.update(state="waiting") for cell in content["cells"]],
    )
    text = plain(study_page(read_study_folder(folder)))
    assert "There are no numbers yet of MoCo and from scratch." in text
    assert "Not finished: 0 runs done" in text
    assert "none of the labels" not in text


def test_findings_that_the_best_model_never_calls_are_named_with_their_reason(
    write_study_of, plain
):
    folder = write_study_of(sampler=False, policies=("ignore",), failed=None)
    without = plain(study_page(read_study_folder(folder)))
    assert "so it is called on no film" not in without
    reason = "validation AUROC 0.57 (0.45 to 0.67) is not shown to be above 0.5"

    def silence(content):
        name = content["findings"][0]
        content["thresholds"][name] = None
        content["not_called"] = {name: reason}

    names = set()
    for path in folder.glob("runs/*/model/model.json"):
        if json.loads(path.read_text())["findings"]:
            rewrite(path, silence)
            names.add(json.loads(path.read_text())["findings"][0])
    (name,) = names
    text = plain(study_page(read_study_folder(folder)))
    assert f"{name} has no threshold, so it is called on no film: {reason}." in text


def test_an_evaluation_without_details_gives_a_page_without_their_sections(write_study_of, parsed):
    folder = write_study_of(sampler=False, policies=("ignore",), failed=None)
    for metrics in folder.glob("runs/*/metrics.json"):

        def strip(content):
            for told in content["evaluations"].values():
                for key in (
                    "calibration",
                    "operating_points",
                    "subgroups",
                    "per_study",
                    "competition",
                ):
                    del told[key]

        rewrite(metrics, strip)
    rewrite(
        folder / "analysis.json",
        lambda content: [row.update(competition=None) for row in content["models"]],
    )
    ids = parsed(study_page(read_study_folder(folder))).ids
    assert {"results", "training", "card"} <= set(ids)
    assert not {"calibration", "operating", "subgroups", "failed"} & set(ids)


def test_many_models_keep_their_marks_apart(write_study_of, plain):
    names = ("MoCo", "SimCLR", "BYOL", "SwAV", "ResNet-50", "Inception V3", "from scratch")
    folder = write_study_of(models=names, fractions=(0.1, 0.5, 1.0))
    text = study_page(read_study_folder(folder))
    assert all(f'class="mark c{place}"' in text for place in range(7))
    assert "Seven models (MoCo, SimCLR" in plain(text)


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda folder: (folder / "analysis.json").write_text("{}"), "is damaged (no test)"),
        (lambda folder: (folder / "analysis.json").write_text("["), "is damaged"),
        (lambda folder: (folder / "study.json").write_text("[]"), "is damaged"),
        (lambda folder: shutil.rmtree(next(folder.glob("runs/main-*"))), "holds no study"),
        (
            lambda folder: rewrite(folder / "study.json", lambda content: content["stores"][0].update(fingerprint="0")),
            "holds other films than the study",
        ),
    ],
)  # fmt: skip
def test_a_damaged_study_is_refused_in_one_line(write_study_of, spoil, line):
    folder = write_study_of(policies=("ignore",))
    spoil(folder)
    with pytest.raises(RunError, match=re.escape(line)) as caught:
        write_report(folder)
    assert "\n" not in str(caught.value)


def test_the_command_writes_the_page(write_study_of, capsys):
    folder = write_study_of(policies=("ignore",), fractions=(1.0,), seeds=1)
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.strip().endswith("report.html")


def test_a_comparison_that_was_not_tested_is_not_called_without_difference():
    untested = Difference(0.1, Interval(-0.1, 0.3))
    assert results.shown(untested, "from scratch") == "not tested"
    assert results.shown(replace(untested, p=0.4, p_holm=0.4), "from scratch") == NO_DIFFERENCE
    assert results.shown(replace(untested, p=0.001, p_holm=0.001), "x") == "better than x"


def test_models_whose_calibration_is_worse_or_missing_are_named(write_study_of, plain):
    folder = write_study_of()
    runs = sorted(folder.glob("runs/*/metrics.json"))
    assert runs

    def worse(content):
        if "test" in content["evaluations"]:
            content["evaluations"]["test"]["calibration"] |= {"ece_raw_mean": 0.01, "ece_mean": 0.2}

    def none(content):
        if "test" in content["evaluations"]:
            for one in content["evaluations"]["test"]["calibration"]["findings"].values():
                one["temperature"] = None

    for path in runs:
        rewrite(path, worse)
    words = plain(study_page(read_study_folder(folder)))
    assert re.search(r"Calibration made the ECE worse for .*0\.010 before, 0\.200 after", words)
    for path in runs:
        rewrite(path, none)
    words = plain(study_page(read_study_folder(folder)))
    assert re.search(r"Calibration of .* and .*: not tested: no temperature was fitted", words)
