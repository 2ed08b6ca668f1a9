"""Plans of tiny studies, which the tests of studies share, and running one in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from hilum.methods import load_method
from hilum.training.interrupt import Interrupted
from hilum.training.options import TrainOptions
from hilum.workflows.study.options import StudyEvaluation, StudyOptions
from hilum.workflows.study.plan import Pretraining, StudyModel, StudyPlan
from hilum.workflows.study.record import is_study, read_study
from hilum.workflows.study.study import study
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions, PretrainOptions

UNSET = {"data": (), "out": Path()}
MODELS = {"MoCo": StudyModel(pretrain="moco"), "from scratch": StudyModel(init="random")}
SCRATCH = {"from scratch": StudyModel(init="random")}
TWO_RATES = {"learning_rates": (1e-3, 3e-3), "seeds": 2}
STOPPED = 130


def tiny_plan(store: Path, out: Path, **more: object) -> StudyPlan:
    """Plan a study of two models on half of the labels, one pass each; ``more`` is of the plan or of its options."""
    train = {"epochs": 1, "batch_size": 16, "accelerator": "cpu"}
    pretraining = PretrainOptions(train=TrainOptions(**train), **UNSET)
    whole = {
        "models": MODELS,
        "pretrain": {
            "moco": Pretraining(options=pretraining, method=load_method("moco").Options())
        },
        "finetune": FinetuneOptions(
            patience=0, train=FinetuneTrainOptions(**{"min_steps": 0, **train}), **UNSET
        ),
    }
    of_plan = {
        name: more.pop(name)
        for name in list(more)
        if name in (*whole, "policies", "epochs", "pseudo_label")
    }
    measured = StudyEvaluation(min_positives=1, resamples=20, subgroup_patients=2)
    usual = {
        "data": (store,),
        "out": out,
        "backbone": "test_resnet",
        "fractions": (0.5,),
        "evaluation": measured,
    }
    return StudyPlan(options=StudyOptions(**{**usual, **more}), **{**whole, **of_plan})


def weights(folder: Path) -> dict[str, bytes]:
    """Return every finished run's weights."""
    return {
        path.parent.parent.name: path.read_bytes()
        for path in folder.glob("runs/*/model/model.safetensors")
    }


def stop_after(store: Path, out: Path, jobs: int, done: int, number: int) -> int:
    """Run a study in a process of its own, send it a signal once so many cells are done, and return its status."""
    search = os.pathsep.join(entry for entry in sys.path if entry)
    process = subprocess.Popen(
        [sys.executable, __file__, str(store), str(out), str(jobs)],
        env={**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
    )
    while process.poll() is None:
        if is_study(out) and sum(cell.state == "done" for cell in read_study(out).cells) >= done:
            process.send_signal(number)
            break
        time.sleep(0.01)
    return process.wait()


if __name__ == "__main__":
    try:
        study(tiny_plan(Path(sys.argv[1]), Path(sys.argv[2]), jobs=int(sys.argv[3]), **TWO_RATES))
    except Interrupted:
        sys.exit(STOPPED)
