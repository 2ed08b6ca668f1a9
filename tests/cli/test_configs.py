"""``--config``: what it sets, what it leaves, and what a hostile file achieves (nothing)."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from hilum.augment.crops import CropRecipe
from hilum.cli.app import build_app
from hilum.cli.configs import read_config, shipped_configs
from hilum.errors import OptionError
from hilum.methods import METHODS


def parsed(*words: object) -> dict[str, object]:
    line = [str(word) for word in words]
    return build_app(line).parse_args(line)[1].arguments


@pytest.fixture
def config(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "my.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


FINETUNE = ("finetune", "--data", "a", "--out", "b")
PREPARE = ("prepare", "chexpert", "r", "--out", "o", "--size", "64")
MOCO = ("pretrain", "moco", "--data", "a", "--out", "b")


def test_block_sets_options_of_its_own_command_only(config):
    path = config("finetune: {fraction: 0.1, train: {epochs: 3}}\npretrain: {train: {epochs: 9}}\n")
    assert parsed(*FINETUNE, "--config", path)["options"].train.epochs == 3
    assert parsed(*FINETUNE, "--config", path)["options"].fraction == 0.1
    assert parsed(*MOCO, "--config", path)["options"].train.epochs == 9


@pytest.mark.parametrize("before", [True, False])
def test_line_beats_file_wherever_it_stands(config, before):
    path = config("finetune: {train: {epochs: 3, lr: 0.5}}\n")
    given, named = ["--train.epochs", "4"], ["--config", path]
    options = parsed(*FINETUNE, *(given + named if before else named + given))["options"]
    assert (options.train.epochs, options.train.lr) == (4, 0.5)


def test_line_adds_to_the_findings_that_the_file_names(config):
    path = config("finetune: {labels: {per_finding: {Edema: ones, Pleural Effusion: ignore}}}\n")
    options = parsed(*FINETUNE, "--config", path, "--labels.per-finding.Edema", "zeros")["options"]
    assert options.labels.per_finding == {"Edema": "zeros", "Pleural Effusion": "ignore"}


def test_list_on_the_line_replaces_that_of_the_file(config):
    path = config("finetune: {data: [x, y, z], out: b}\n")
    assert parsed("finetune", "--config", path)["options"].data == (Path("x"), Path("y"), Path("z"))
    assert parsed(*FINETUNE, "--config", path)["options"].data == (Path("a"),)


def test_progressive_sizes_and_a_length_in_crops_are_read_alike(config):
    text = "pretrain: {train: {epochs: 5, sizes: [32, 64], size_shares: [0.25, 0.75]}}\n"
    words = ("--train.epochs", "none", "--train.crops", "2000000", "--train.sizes", "32", "48")
    path = config(text)
    train = parsed(*MOCO, "--config", path)["options"].train
    assert (train.epochs, train.crops, train.sizes) == (5, None, (32, 64))
    assert train.size_shares == (0.25, 0.75)
    shares = ("--train.size-shares", "0.5", "0.5")
    train = parsed(*MOCO, "--config", path, *words, *shares)["options"].train
    assert (train.epochs, train.crops, train.sizes) == (None, 2_000_000, (32, 48))
    assert parsed(*MOCO)["options"].train.epochs == 20


def test_block_of_a_method_beats_that_of_pretrain(config):
    path = config(
        "pretrain: {train: {epochs: 5, lr: 0.5}, moco: {method: {temperature: 0.3}, train: {epochs: 6}}}\n"
    )
    arguments = parsed(*MOCO, "--config", path)
    assert (arguments["options"].train.epochs, arguments["options"].train.lr) == (6, 0.5)
    assert arguments["method"].temperature == 0.3


def test_values_mean_what_they_mean_on_the_line(config):
    text = "finetune: {freeze: true, backbone: null, train: {lr: 1e-3, precision: 32, channels_last: no}}\n"
    options = parsed(*FINETUNE, "--config", config(text))["options"]
    assert (options.freeze, options.backbone, options.train.lr) == (True, None, 0.001)
    assert (options.train.precision, options.train.channels_last) == ("32", False)


def test_record_of_a_run_is_read_past(config):
    path = config("finetune: {fraction: 0.1}\nrecord: {hilum: 0.1.0, data: [{films: 3}]}\n")
    assert parsed(*FINETUNE, "--config", path)["options"].fraction == 0.1


def test_file_without_the_commands_block_is_said_to_change_nothing(hilum, config, store):
    said = hilum("split", store, "--config", config("finetune: {fraction: 0.1}\n"))
    assert said.code == 0
    assert "has no block for 'split'" in said.err


def test_shipped_names():
    assert {"gpu", "paper", "small"} <= set(shipped_configs())


@pytest.mark.parametrize("name", sorted(shipped_configs()))
@pytest.mark.parametrize("line", [FINETUNE, MOCO, PREPARE], ids=lambda line: line[0])
def test_shipped_configs_are_understood_by_every_command(name, line):
    assert parsed(*line, "--config", name)["options"]


def pretraining(method: str, name: str) -> dict[str, Any]:
    return parsed("pretrain", method, "--data", "a", "--out", "b", "--config", name)


def leaves(
    block: dict[str, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, value in block.items():
        if isinstance(value, dict):
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key), value


def with_block(*names: str) -> list[tuple[str, str]]:
    """Return each preset with each method that it has a block of; a method without one takes the common options."""
    return [
        (name, method)
        for name in names
        for method in METHODS
        if method in read_config(name)["pretrain"]
    ]


def same(said: str, found: object) -> bool:
    if isinstance(found, bool):
        return said == str(found).lower()
    return float(said) == found if isinstance(found, int | float) else said == str(found)


@pytest.mark.parametrize("name", ["small", "gpu", "paper"])
def test_every_preset_has_a_block_of_the_published_methods(name):
    assert {"moco", "simclr", "byol", "swav"} <= read_config(name)["pretrain"].keys()


@pytest.mark.parametrize(("name", "method"), with_block("small", "gpu", "paper"))
def test_a_methods_block_in_a_preset_says_what_is_done(name, method):
    blocks, arguments = read_config(name)["pretrain"], pretraining(method, name)
    own = dict(leaves(blocks[method]))
    common = dict(leaves({key: value for key, value in blocks.items() if key not in METHODS}))
    assert any(keys[0] == "method" for keys in own)
    for keys, said in (common | own).items():
        found = arguments["method"] if keys[0] == "method" else arguments["options"]
        for key in keys[1:] if keys[0] == "method" else keys:
            found = getattr(found, key)
        assert same(said, found), keys


@pytest.mark.parametrize("name", ["small", "gpu", "paper"])
def test_presets_know_no_method_that_there_is_not(name):
    blocks = {
        key for key, value in read_config(name)["pretrain"].items() if isinstance(value, dict)
    }
    assert blocks <= {"train", *METHODS}


@pytest.mark.parametrize(("name", "method"), with_block("gpu", "paper"))
def test_crops_of_large_films_show_smaller_shares_of_them(name, method):
    crops = pretraining(method, name)["method"].crops
    assert 0.2 <= crops.min_scale <= 0.3
    assert crops.gamma >= 0.3  # what the file does not name stays the method's own


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_the_papers_start_and_course(method):
    options = pretraining(method, "paper")["options"]
    assert (options.init, options.backbone) == ("imagenet", "resnet50")
    train = options.train
    assert (train.optimiser, train.schedule, train.precision, train.clip) == (
        "adamw",
        "onecycle",
        "16-mixed",
        1.0,
    )


def test_papers_crops_are_the_kinds_that_the_study_names():
    for _, method in with_block("paper"):
        given = pretraining(method, "paper")["method"]
        recipes = [value for value in vars(given).values() if isinstance(value, CropRecipe)]
        assert recipes
        assert all(
            (recipe.rotation, recipe.noise, recipe.flip) == (0, 0, 0.5) for recipe in recipes
        )
    byol = pretraining("byol", "paper")["method"]
    assert (byol.crops.blur, byol.weak_crops.blur) == (1, 0)


def test_a_swav_that_fits_the_films():
    for name in ("small", "gpu", "paper"):
        swav = pretraining("swav", name)["method"]
        assert swav.local_crops == 6
        assert swav.local.min_scale >= 0.15  # a lung's corner tells nothing
        assert swav.for_films(9000).prototypes <= 300


def test_papers_values_are_the_published_ones():
    arguments = parsed(*MOCO, "--config", "paper")
    options, method = arguments["options"], arguments["method"]
    assert (options.init, options.backbone, options.train.schedule) == (
        "imagenet",
        "resnet50",
        "onecycle",
    )
    assert (method.queue_size, method.temperature) == (4096, 0.07)
    tuning = parsed(*FINETUNE, "--config", "paper")["options"]
    assert (tuning.labels.uncertain, tuning.sampler, tuning.loss.name) == (
        "zeros",
        "weighted",
        "focal",
    )
    prepare = parsed("prepare", "chexpert", "r", "--out", "o", "--config", "paper")["options"]
    assert (prepare.size, prepare.enhance) == (224, "paper")


def test_shipped_configs_explain_themselves():
    for entry in shipped_configs().values():
        assert entry.read_text(encoding="utf-8").startswith("# ")
    assert files("hilum.configs").joinpath("small.yaml").is_file()


HOSTILE = {
    "python call": "finetune: !!python/object/apply:os.system ['touch {mark}']\n",
    "python call as value": "finetune: {{out: !!python/object/apply:os.system ['touch {mark}']}}\n",
    "python name": "finetune: {{out: !!python/name:os.system }}\n",
    "python module": "finetune: {{out: !!python/module:antigravity }}\n",
    "python new object": "finetune: !!python/object/new:subprocess.Popen [['touch', '{mark}']]\n",
    "local tag": "finetune: !include /etc/passwd\n",
    "binary": "finetune: {{out: !!binary aGVsbG8=}}\n",
    "class path": "finetune: {{class_path: os.system, init_args: {{command: 'touch {mark}'}}}}\n",
    "class path below": "finetune: {{train: {{class_path: os.system, init_args: {{command: 'touch {mark}'}}}}}}\n",
    "billion laughs": "a: &a [lol, lol]\nb: &b [*a, *a]\nc: &c [*b, *b]\nfinetune: {{data: *c}}\n",
    "alias to itself": "finetune: &f {{out: *f}}\n",
    "merge key": "finetune: {{<<: {{out: x}}}}\n",
    "deep nesting": "[" * 100_000,
    "deep blocks": "finetune: " + "{{a: " * 50 + "1" + "}}" * 50 + "\n",
    "many documents": "finetune: {{out: x}}\n---\nfinetune: {{out: y}}\n",
    "directive": "%TAG ! tag:yaml.org,2002:python/\n---\nfinetune: !object/apply:os.system ['touch {mark}']\n",
    "control letters": 'finetune: {{out: "\\e[2J\\e]0;owned\\a", \x07: 1}}\n',
    "key with escapes": 'finetune: {{"\\e[31mred\\nnext line": 1}}\n',
    "too long": "# " + "x" * 1_000_001,
    "no mapping": "- finetune\n",
    "block of text": "finetune: all\n",
    "key that is a list": "finetune: {{[a, b]: 1}}\n",
    "key twice": "finetune: {{out: a, out: b}}\n",
    "list of mappings": "finetune: {{init: [{{a: 1}}]}}\n",
    "broken": "finetune: {{out: [\n",
    "nested options as text": "finetune: {{train: 5}}\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused_in_one_line_and_runs_nothing(hilum, config, tmp_path, name):
    mark = tmp_path / "mark"
    path = config(HOSTILE[name].format(mark=mark))
    said = hilum(
        "finetune", "--data", tmp_path / "none", "--out", tmp_path / "run", "--config", path
    )
    assert said.code in (1, 2)
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.isprintable() or said.err.rstrip("\n").isprintable()
    assert str(path) in said.err
    assert len(said.err) < 600
    assert not mark.exists()
    assert not (tmp_path / "run").exists()


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "bytes.yaml"
    path.write_bytes(b"\xff\xfe\x00finetune")
    with pytest.raises(OptionError, match="cannot be read as UTF-8"):
        read_config(str(path))


def test_every_line_of_plain_yaml_is_text():
    assert read_config("small")["finetune"]["train"]["lr"] == "5e-4"
