"""``hilum demo``: what it studies, and the real thing at full size among the long tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.bundle.model_folder import is_model
from hilum.cli.demo import demo_plan
from hilum.images.store import Store
from hilum.workflows.demo.options import DemoOptions


def test_the_short_demo_is_moco_and_scratch_on_few_and_all_labels():
    plan = demo_plan(DemoOptions(out=Path("here"), seed=7))
    assert list(plan.models) == ["MoCo", "from scratch"]
    assert plan.options.fractions == (0.1, 1.0)
    assert plan.options.learning_rates == (0.001,)
    assert (plan.options.out, plan.options.data, plan.options.seed) == (
        Path("here"),
        (Path("here/store"),),
        7,
    )
    assert plan.options.annotations == (Path("here/phantoms"),)


def test_the_full_demo_has_every_method_and_both_baselines():
    plan = demo_plan(DemoOptions(full=True))
    assert {model.pretrain for model in plan.models.values()} >= {"moco", "simclr", "byol", "swav"}
    assert {model.backbone for model in plan.models.values()} >= {"resnet50", "inception_v3"}
    assert plan.options.fractions == (0.1, 0.5, 1.0)
    assert plan.policies is not None


def test_a_folder_of_something_else_is_refused_in_one_line(hilum, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    said = hilum("demo", "--out", tmp_path)
    assert (said.code, said.out) == (1, "")
    assert "something else than a demo" in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.torture
def test_the_demo_at_full_size_learns_and_shows_it(hilum, tmp_path):
    said = hilum("demo", "--out", tmp_path / "demo")
    assert said.code == 0
    page, served = said.out.splitlines()[-2:]
    assert page == str(tmp_path / "demo/report.html")
    assert served.startswith(f"hilum serve {tmp_path / 'demo/runs'}/")
    assert is_model(Path(served.split()[2]))
    assert Store.open(Path(served.split()[4]))
    full = [line for line in said.out.splitlines() if " 100% " in line]
    assert len(full) == 2
    assert all(float(line.split("%")[1].split()[0]) > 0.75 for line in full)
