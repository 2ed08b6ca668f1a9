"""A demo in miniature, finished once for all tests of the report."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hilum.methods import load_method
from hilum.training.options import TrainOptions
from hilum.workflows.demo.demo import STORE, DemoFilms, DemoOptions, demo
from hilum.workflows.study.options import StudyEvaluation, StudyOptions
from hilum.workflows.study.plan import Pretraining, StudyModel, StudyPlan
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions, PretrainOptions

VOID = {"meta", "img", "br", "link", "input", "hr"}
LOADS = {"src", "srcset", "href", "data", "poster", "action", "xlink:href", "background"}


def tiny_plan(out: Path) -> StudyPlan:
    """Plan MoCo on few and on all labels of the demo's films, one pass each."""
    unset = {"data": (), "out": Path()}
    pretraining = PretrainOptions(train=TrainOptions(epochs=1, batch_size=32), **unset)
    return StudyPlan(
        options=StudyOptions(
            data=(out / STORE,),
            out=out,
            backbone="test_resnet",
            fractions=(0.1, 1.0),
            evaluation=StudyEvaluation(min_positives=2, resamples=40, subgroup_patients=2),
        ),
        models={"MoCo": StudyModel(pretrain="moco")},
        pretrain={"moco": Pretraining(options=pretraining, method=load_method("moco").Options())},
        finetune=FinetuneOptions(
            patience=0, train=FinetuneTrainOptions(min_steps=0, epochs=1, batch_size=16), **unset
        ),
    )


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo whose runs are runs/moco-pretrain, runs/moco-10-ignore-seed-0 and runs/moco-100-ignore-seed-0."""
    out = tmp_path_factory.mktemp("report") / "demo"
    demo(
        DemoOptions(out=out, seed=3),
        tiny_plan(out),
        films=DemoFilms(films=100, drawn_size=32, size=32),
    )
    return out


@pytest.fixture
def own_demo(demo_folder: Path, tmp_path: Path, forget_hashes: Callable[[Path], None]) -> Path:
    """A copy that a test may spoil, without hashes as version 0.1.0 wrote it."""
    copied = shutil.copytree(demo_folder, tmp_path / "demo")
    forget_hashes(copied)
    return copied


class Page(HTMLParser):
    """What a page consists of: its tags, what they load, ids, words, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.ids: list[str] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [
            value or ""
            for name, value in attrs
            if name in LOADS and not (value or "").startswith("#")
        ]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words += data


@pytest.fixture(scope="session")
def parsed() -> Callable[[str], Page]:
    """Read a page's HTML."""
    return Page


@pytest.fixture(scope="session")
def plain() -> Callable[[str], str]:
    """Return a page's words, single spaces between them."""
    return lambda text: " ".join(Page(text).words.split())
