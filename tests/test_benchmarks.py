"""The benchmarks run and say what they promise; how fast anything is, no test asks."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.methods import METHODS
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.workflows.prepare.prepare import PrepareOptions, prepare

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """A folder of 24 noise films of 12 patients."""
    rng = np.random.default_rng(0)
    for film in range(24):
        name = tmp_path / "films" / f"{film // 2:08d}_{film % 2:03d}.png"
        name.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(name), rng.integers(0, 256, (40, 40), dtype=np.uint8))
    return tmp_path / "films"


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_small_set_is_the_first_whole_patients(tmp_path: Path) -> None:
    root, films = (
        tmp_path / "nih14",
        [f"{patient:08d}_{n:03d}.png" for patient in range(1, 6) for n in range(3)],
    )
    (root / "images").mkdir(parents=True)
    rows = [
        "Image Index,Finding Labels,Patient ID",
        *(f"{name},Mass,{int(name[:8])}" for name in films),
    ]
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join(rows))
    for name in films[1:]:
        (root / "images" / name).write_bytes(b"film")
    (root / "train_val_list.txt").write_text("\n".join(films[:6]))
    (root / "test_list.txt").write_text("\n".join(films[6:]))
    shown = run("small_set.py", str(tmp_path / "out"), "--root", str(root), "--films", "6")
    assert shown.stdout == f"{tmp_path / 'out'}: 8 films of 3 patients\n"
    assert sorted(path.name for path in (tmp_path / "out" / "images").iterdir()) == films[1:9]
    assert (tmp_path / "out" / "test_list.txt").read_text().split() == films[6:9]
    none = run("small_set.py", str(tmp_path / "none"), "--root", str(tmp_path))
    assert (none.returncode, none.stdout.split(":")[0]) == (0, "skipped")


@pytest.mark.torture
def test_pretrain_speed_gives_both_ratios_for_every_method(noise: Path) -> None:
    small = ["--backbone", "test_resnet", "--size", "32", "--batch", "4", "--pairs", "2"]
    shown = run(
        "pretrain_speed.py",
        "--json",
        "--data",
        str(noise),
        "--threads",
        "1",
        "--block-seconds",
        "0",
        *small,
    )
    assert shown.returncode == 0, shown.stderr
    result = json.loads(shown.stdout.splitlines()[-1])
    assert str(noise) in result["data"]
    assert (result["backbone"], result["size"], result["batch"], result["pairs"]) == (
        "test_resnet",
        32,
        4,
        2,
    )
    assert set(METHODS) == set(result["lightly"])
    for method in METHODS:
        ours, theirs = result[method], result["lightly"][method]
        figures = [ours[name] for name in ("bare", "pipeline", "ratio", "cpu_ratio")]
        figures += [
            ours[f"{what}_{unit}"]
            for what in ("look", "checkpoint")
            for unit in ("seconds", "share_of_epoch")
        ]
        figures += [theirs[name] for name in ("bare", "pipeline", "factor", "workers")]
        assert all(math.isfinite(figure) and figure > 0 for figure in figures), result
        for spread, median in (
            (ours["ratio_spread"], ours["ratio"]),
            (theirs["factor_spread"], theirs["factor"]),
        ):
            assert (
                spread["min"]
                <= spread["lower_quartile"]
                <= median
                <= spread["upper_quartile"]
                <= spread["max"]
            )


def test_pretrain_speed_of_one_method_alone_names_no_other(noise: Path) -> None:
    small = [
        "--backbone",
        "test_resnet",
        "--size",
        "32",
        "--batch",
        "4",
        "--pairs",
        "1",
        "--block-seconds",
        "0",
    ]
    asked = [
        "--data",
        str(noise),
        "--methods",
        "byol",
        "--without-lightly",
        "--threads",
        "1",
        *small,
    ]
    shown = run("pretrain_speed.py", "--json", *asked)
    assert shown.returncode == 0, shown.stderr
    result = json.loads(shown.stdout.splitlines()[-1])
    assert result["byol"]["ratio"] > 0
    assert not ({"lightly", *METHODS} - {"byol"}) & result.keys()


def test_prepare_speed_gives_both_efficiencies(noise: Path) -> None:
    small = ["--workers", "1", "--pairs", "2", "--films", "6", "--films-none", "30"]
    shown = run("prepare_speed.py", "--json", "--data", str(noise), *small)
    assert shown.returncode == 0, shown.stderr
    result = json.loads(shown.stdout.splitlines()[-1])
    assert str(noise) in result["data"]
    assert (result["workers"], result["pairs"], result["size"]) == (1, 2, 224)
    for key, enhance, films in (("efficiency", "paper", 6), ("efficiency_none", "none", 30)):
        found = result[f"films_per_second_{enhance}"]
        assert (found["films"], found["median"], found["spread"]) == (
            films,
            result[key],
            result[f"{key}_spread"],
        )
        low, high = found["spread"]
        figures = (found["bare"], found["prepare"], low, result[key], high)
        assert all(math.isfinite(figure) and figure > 0 for figure in figures), result
        assert low <= result[key] <= high


@pytest.mark.torture
def test_methods_table_makes_skips_and_writes_its_rows(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "phantoms", PhantomOptions(120, 64, prevalence="even"))
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- table of benchmarks/methods_table.py -->\n<!-- end of table -->\nafter\n"
    )
    small = [
        "--source",
        "chexpert",
        "--methods",
        "moco",
        "--epochs",
        "1",
        "--backbone",
        "test_resnet",
        "--size",
        "32",
    ]
    asked = [
        "--data",
        str(tmp_path / "phantoms"),
        "--out",
        str(tmp_path / "out"),
        *small,
        "--write",
        str(page),
    ]
    shown = run("methods_table.py", *asked)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    rows = [line for line in lines if line.startswith(("| moco | 1 |", "| random, test_resnet |"))]
    assert len(rows) == 2
    assert (
        page.read_text()
        == f"before\n<!-- table of benchmarks/methods_table.py -->\n{shown.stdout}<!-- end of table -->\nafter\n"
    )
    commands = json.loads((tmp_path / "out" / "moco.json").read_text())["commands"]
    assert commands[0].startswith("hilum pretrain moco --data")
    assert "--against random" in commands[1]
    again = run("methods_table.py", *asked)
    assert again.stdout == shown.stdout
    assert not any(
        word in again.stderr for word in ("hilum pretrain", "hilum probe", "hilum prepare")
    )


def test_the_alarm_fires_on_a_planted_collapse_of_every_method_and_keeps_quiet_over_a_healthy_run() -> (
    None
):
    shown = run(
        "collapse_check.py", "--json", "--short", "--films", "200", "--batch", "16", "--epochs", "8"
    )
    lines = shown.stdout.splitlines()
    assert lines, shown.stderr
    records = json.loads(lines[-1])["runs"]
    told = {(record["method"], record["planted"]): record["kinds"] for record in records}
    assert told.keys() == {(method, planted) for method in METHODS for planted in (True, False)}
    assert all(("collapse" in kinds) is planted for (_, planted), kinds in told.items()), (
        shown.stdout
    )
    assert not any(kinds for (_, planted), kinds in told.items() if not planted), shown.stdout
    assert all(record["margin"] < 0.1 for record in records if record["planted"]), shown.stdout


@pytest.mark.torture
def test_uncertain_policies_measures_every_row_and_skips_finished_ones(tmp_path: Path) -> None:
    small = [
        "--films",
        "160",
        "--size",
        "32",
        "--backbone",
        "test_resnet",
        "--epochs",
        "1",
        "--fraction",
        "1",
    ]
    small += ["--min-positives", "1"]
    asked = [
        "--out",
        str(tmp_path),
        "--seeds",
        "1",
        "--policies",
        "zeros",
        "ones",
        "--json",
        *small,
    ]
    shown = run("uncertain_policies.py", *asked)
    assert shown.returncode == 0, shown.stderr
    result = json.loads(shown.stdout.splitlines()[-1])
    assert [(row["truth"], row["policy"], row.get("minus")) for row in result["rows"]] == [
        *((share, policy, None) for policy in ("zeros", "ones") for share in (0.2, 0.8)),
        *((share, "zeros", "ones") for share in (0.2, 0.8)),
    ]
    assert all(0.3 < row["auroc"]["value"] < 0.9 for row in result["rows"][:4])
    assert set(result["as_planted"]) == {"0.2", "0.8"}
    told = [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("log.jsonl"))]
    assert len(told) == 4
    assert run("uncertain_policies.py", *asked).stdout == shown.stdout
    assert [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("log.jsonl"))] == told


@pytest.mark.torture
def test_calibration_check_gives_both_errors_for_every_finding() -> None:
    asked = ["--count", "400", "--size", "32", "--backbone", "test_resnet", "--epochs", "1"]
    shown = run("calibration_check.py", "--json", "--positive-weight", "3", *asked)
    assert shown.returncode == 0, shown.stderr
    result = json.loads(shown.stdout.splitlines()[-1])
    assert len(result["findings"]) == 14
    assert all(
        0 < one["ece"] < 1 and 0 < one["ece_by_chance"] < 1 for one in result["findings"].values()
    ), result
    assert any(one["shift"] is not None for one in result["findings"].values()), result
    assert (
        result["ece_mean"] < result["ece_raw_mean"]
    )  # weighed threefold, all probabilities are too high
    assert not result["reached"]  # on so few films


@pytest.mark.torture
def test_pseudo_precision_gives_wanted_and_real_precision_of_every_side(tmp_path: Path) -> None:
    small = [
        "--films",
        "600",
        "--size",
        "32",
        "--backbone",
        "test_resnet",
        "--epochs",
        "3",
        "--round-epochs",
        "1",
    ]
    small += ["--fraction", "0.3", "--rounds", "1", "--resamples", "50", "--min-positives", "1"]
    loose = ["--precision", "0.5", "--absent-precision", "0.8", "--level", "0.5"]
    shown = run("pseudo_precision.py", "--json", "--out", str(tmp_path), *small, *loose)
    assert shown.returncode == 0, shown.stderr
    result = json.loads(shown.stdout.splitlines()[-1])
    assert len(result["rows"]) == 14 * 2
    added = [row for row in result["rows"] if row["added"]]
    assert added
    for row in added:
        low, high = row["interval"]
        assert 0 <= low <= row["real"] <= high <= 1
        assert row["missed"] == (high < row["wanted"])
    assert all(row["reason"] for row in result["rows"] if not row["added"])
    kept = result["kept_validation_auroc"]
    assert kept == sorted(kept)
    assert {"start", "kept", "kept minus start", "round 1 minus start"} <= set(result["auroc"])
    assert (
        run("pseudo_precision.py", "--json", "--out", str(tmp_path), *small, *loose).stdout
        == shown.stdout
    )
    lots = run(
        "pseudo_lots.py",
        str(tmp_path),
        "--lots",
        "3",
        "--precision",
        "0.5",
        "--levels",
        "0.5",
        "--json",
    )
    assert lots.returncode == 0, lots.stderr
    present = json.loads(lots.stdout.splitlines()[-1])["level 0.5, called present"]
    assert present["sets"] == 3
    assert 0 <= present["missed"] <= present["called"] == round(3 * present["findings"])
    assert -0.5 <= present["over"] <= 0.5


@pytest.mark.torture
def test_shortcut_check_flags_the_token_and_neither_the_decoy_nor_clean_films() -> None:
    small = [
        "--seeds",
        "1",
        "--first-seed",
        "200",
        "--films",
        "500",
        "--size",
        "48",
        "--min-positives",
        "5",
    ]
    shown = run("shortcut_check.py", "--json", *small)
    assert shown.returncode == 0, shown.stderr
    result = json.loads(shown.stdout.splitlines()[-1])
    assert result["reached"], result
    planted, decoy, clean = result["runs"]
    assert (planted["set"], decoy["set"], clean["set"]) == ("planted", "decoy", "clean")
    assert planted["tokens"] == decoy["tokens"] > clean["tokens"] == 0
    assert planted["flagged"]
    assert planted["auroc"]["border"] > 0.8
    assert not any(one["flagged"] or one["others"] for one in (decoy, clean))
    assert decoy["auroc"]["border"] < 0.65


def test_label_issues_check_finds_more_flipped_labels_than_chance(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "phantoms", PhantomOptions(400, 32, prevalence="even"))
    prepare(
        read_source("chexpert", tmp_path / "phantoms"),
        tmp_path / "store",
        PrepareOptions(32, workers=1),
    )
    shown = run(
        "label_issues_check.py", "--data", str(tmp_path / "store"), "--seeds", "2", "--json"
    )
    assert shown.returncode == 0, shown.stderr
    result = json.loads(shown.stdout.splitlines()[-1])
    assert len(result["seeds"]) == 2
    for seed in result["seeds"]:
        assert 0.03 < seed["chance"] < 0.07
        assert seed["flipped"]["500"] > seed["chance"]
        assert seed["chance_of_same_labels"] > seed["chance"]


@pytest.mark.torture
def test_million_rows_gives_seconds_and_memory_of_every_step_and_their_ratios() -> None:
    small = ["--films", "300", "--patients", "100", "--repeats", "1"]
    source = str(BENCHMARKS.parent / "src")
    shown = run("million_rows.py", "--json", *small, "--against", source)
    assert shown.returncode == 0, shown.stderr
    result = json.loads(shown.stdout.splitlines()[-1])
    for step in ("open", "split", "first_batch", "evaluate", "total"):
        figures = result[step]
        for key in ("seconds", "mib"):
            for name in (f"{key}_this", f"{key}_against", f"{key}_ratio"):
                assert figures[name]["min"] <= figures[name]["median"] <= figures[name]["max"]
            assert figures[f"{key}_this"]["max"] > 0 or step == "open"


def test_flipped_bits_counts_every_outcome_and_finds_none_silent() -> None:
    few = ("--flips", "8", "--big-flips", "2", "--commands", "1")
    shown = run("flipped_bits.py", "--json", *few)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    result = json.loads(shown.stdout.splitlines()[-1])
    assert result["bad"] == 0
    names = {"store/catalog.parquet", "run/options.yaml", "study/study.json", "card/card.json"}
    assert names <= set(result["files"])
    for name, counts in result["files"].items():
        big = name.endswith((".npy", ".safetensors", ".png"))
        flips = 1 if name.endswith("(commands)") else 2 if big else 8
        assert sum(counts.values()) == flips, name


def test_foreign_weights_compares_features_and_refuses_hostile_files() -> None:
    small = ["--networks", "resnet18", "--layouts", "lightly", "dino", "half"]
    hostile = ["--hostile", "eval", "storage that lies", "wide"]
    shown = run("foreign_weights.py", "--json", *small, *hostile)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    result = json.loads(shown.stdout.splitlines()[-1])
    assert (result["files"], result["equal"], result["rightly_refused"]) == (3, 3, 0)
    assert result["greatest_difference"] <= 1e-3
    assert (result["hostile"], result["hostile_refused"], result["hostile_run"]) == (3, 3, 0)
    assert result["wrong"] == []


def test_guess_names_finds_no_film_of_a_model_and_every_one_of_an_old_model() -> None:
    shown = run("guess_names.py", "--json", "--names", "600", "--films", "40")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    result = json.loads(shown.stdout.splitlines()[-1])
    films = result["films_trained_on"]
    assert films > 15
    assert (result["guessed_by_name"], result["guessed_by_pixels"]) == (0, 0)
    assert result["as_0.1.0_wrote_it"] == {
        "guessed_by_name": films,
        "guessed_by_pixels": films,
        "wrongly_guessed": 0,
    }
    assert f"on {films} of the 40 films of 'all'" in result["with_key_other_store"]
    assert f"cannot tell its {films} training films" in result["without_key_note"]


def shell(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(BENCHMARKS / script), *arguments]
    env = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_gpu_speed_runs_on_a_cpu_in_small(tmp_path: Path) -> None:
    shown = shell("gpu_speed.sh", str(tmp_path / "out"), TINY="1")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    result = json.loads((tmp_path / "out" / "tiny.json").read_text())
    assert result["data"] == "32 films of noise"
    figures = [result["moco"][name] for name in ("bare", "pipeline", "ratio")]
    assert all(figure > 0 for figure in figures)
    assert result["moco"]["compiled"] > 0, result


def test_gpu_quality_runs_on_a_cpu_in_small_from_its_file(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "phantoms", PhantomOptions(60, 64, prevalence="even"))
    packed = tmp_path / "films.tar.xz"
    made = run(
        "gpu_data.py", str(packed), "--data", str(tmp_path / "phantoms"), "--source", "chexpert"
    )
    assert made.returncode == 0, made.stderr
    assert f"{packed.stat().st_size:,} bytes" in made.stdout
    shown = shell("gpu_quality.sh", "--data", str(packed), "--tiny")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    result = json.loads(shown.stdout.splitlines()[-1])
    assert result["pretrain_epochs"] == 2
    assert len(result["MoCo"]["draws"]) == len(result["from scratch"]["draws"]) == 2
    gap = result["MoCo"]["value"] - result["from scratch"]["value"]
    assert result["difference"]["value"] == pytest.approx(gap)


def test_gpu_scripts_name_what_a_python_lacks(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without installed packages
    bare.chmod(0o755)
    for script, arguments in (("gpu_speed.sh", [str(tmp_path)]), ("gpu_quality.sh", ["--tiny"])):
        shown = shell(script, *arguments, PYTHON=str(bare))
        assert shown.returncode == 1
        assert "lacks torch, timm" in shown.stderr
        assert "pip install" in shown.stderr


def test_time_to_quality_stops_at_its_moments_and_goes_on_where_it_was(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "films", PhantomOptions(count=120, size=32, prevalence="even"))
    out = tmp_path / "out"
    out.mkdir()
    # What two pilots measure otherwise.
    (out / "step-seconds.json").write_text(json.dumps({"this build": 1.0}))
    recipe = {"method": "simclr", "options": {}, "train": {"sizes": [16, 32]}}
    words = [
        *("--data", str(tmp_path / "films"), "--source", "chexpert", "--out", str(out), "--json"),
        *("--backbone", "test_resnet", "--size", "32", "--batch", "8", "--lightly"),
        *("--seconds", "6", "--share", "0.67", "--seeds", "1", "--moments", "2", "--threads", "1"),
        *("--recipe", json.dumps(recipe), "--quiet"),
    ]
    done = run("time_to_quality.py", *words)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    (rows,) = result["runs"]["this build"].values()
    assert [row["step"] for row in rows] == [2, 4]
    assert 0 < rows[0]["cpu"] < rows[1]["cpu"]
    assert all(0 <= row["auroc"] <= 1 for row in rows)
    kept = out / "this-build-0" / "moments.json"
    kept.write_text(json.dumps(json.loads(kept.read_text())[:1]))
    again = json.loads(run("time_to_quality.py", *words).stdout.splitlines()[-1])
    (before,), (after,) = (of["runs"]["this build"].values() for of in (result, again))
    assert [row["auroc"] for row in before] == [row["auroc"] for row in after]
