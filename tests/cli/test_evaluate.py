"""``hilum evaluate`` from the line: what is said of two runs beside each other."""

from __future__ import annotations

import json


def test_what_flatters_either_run_is_said_with_its_name(hilum, tiny_store, tmp_path):
    runs = [tmp_path / name for name in ("one", "two")]
    for seed, run in enumerate(runs):
        train = [
            "--train.epochs",
            1,
            "--train.min-steps",
            0,
            "--train.batch-size",
            16,
            "--train.seed",
            seed,
            "--train.accelerator",
            "cpu",
        ]
        assert (
            hilum(
                "finetune", "--data", tiny_store, "--out", run, "--backbone", "test_resnet", *train
            ).code
            == 0
        )
    words = ["--data", tiny_store, "--split", "val", "--min-positives", 1, "--resamples", 20]
    said = hilum("evaluate", runs[0], "--against", runs[1], *words)
    assert said.code == 0
    for run in runs:
        assert (
            f"{run}: thresholds, calibration and the stopping epoch were chosen on these"
            in said.err
        )
    assert f"{runs[0]} minus {runs[1]} on the same 24 films" in said.out
    few = hilum("evaluate", runs[0], "--against", runs[1], *words[:-3], 1000)
    assert few.code == 0, few.err
    assert "mean AUROC not available (no finding has 1,000 positive patients" in few.out
    rows = [line for line in few.out.splitlines() if line.endswith("not tested")]
    assert [row.split()[0] for row in rows] == ["Edema", "Mass"]
    assert (
        "2 findings with fewer than 1,000 positive patients are not tested; the interval" in few.out
    )
    alone = hilum("evaluate", runs[0], *words)
    assert f"{runs[0]}: thresholds" not in alone.err
    told = json.loads(hilum("evaluate", runs[0], "--against", runs[1], *words, "--json").out)
    assert told["against"]["predictions"] == str(runs[1] / "predictions-val.parquet")
    assert told["against"]["difference"]["films"] == 24
