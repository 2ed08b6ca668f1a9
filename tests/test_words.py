"""Old names are gone: source, help pages, docs and page templates use the field's words.

``python tests/test_words.py`` lists every old name that is left, by file.
"""

from __future__ import annotations

import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXTS = [
    *sorted((ROOT / "src").rglob("*.py")),
    *sorted((ROOT / "src").rglob("*.html")),
    *sorted((ROOT / "src").rglob("*.yaml")),
    *(path for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "modules.md"),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks" / "README.md",
]


def word(*words: str) -> str:
    """Return a pattern for whole words, also as part of snake_case and CamelCase names."""
    either = "|".join(words)
    capitals = "|".join(each[0].upper() + each[1:] for each in words)
    return rf"(?<![A-Za-z])(?i:{either})(?![a-z])|(?<=[a-z])(?:{capitals})(?![a-z])"


OLD_NAMES = {
    # new name: pattern of the old one, in any line of any text
    "TrainingSet": word("lessons?"),
    "Subsets; split": r"\bParts\b|--parts?\b|\bparts? [`'\"]?(?:train|val|test|official-test)\b"
    r"|\b(?:training|validation|test|official) parts?\b"
    r"|\bin (?:two|several|different|every|another|no) parts?\b",
    "monitor": word("lookouts?")
    + r"|--watch\.|\b(?:self|training|trainer)\.watch\b|\bLooks\b|\blooks = |\.looks\b",
    "collapse, CollapseDetector": word("alarms?") + r"|\bhealth\.py\b|training\.health\b",
    "positive pairs": word("twins?"),
    "outliers": word("strangers?"),
    "label issues": r"(?i:label[-_ ]hints?)|--hints\b|\[\"hints\"\]|\bhints\(",
    "linear baseline": word("cheap", "cheap_readers?"),
    "annotations": r"\bknown_places\b|--(?:[a-z.-]+\.)?truth\b|\boptions\.truth\b",
    "initialization, InitialWeights": r"\bbundle\.start\b|\bStart\(|\bclass Start\b|-> Start\b",
    "training manifest, exclude_training_images": r"\bbundle\.seen\b|\bseen\.py\b|drop[-_]seen",
    "outlier_distance": r"\bmetrics\.bulk\b|\bbulk\.py\b",
    "proportions, student_t, precision_thresholds, per_study": (
        r"\bmetrics\.(?:shares|student|selection|studies)\b|\b(?:shares|student|selection)\.py\b"
    ),
    "status, exit_message": word("standing", "obituar(?:y|ies)"),
    "launcher, spawn": word("hire", "hired", "hires", "born"),
    "RoundContext; schedule": word("courses?"),
    "self-training": word("grow", "grows", "grew", "grown", "growth", "growing"),
    "subset seed": r"--draw\b|\b[Dd]raws? of (?:the|that|a|its) (?:labell?ed |share|fraction|labels)"
    r"|\bdraw of (?:labels|the labels)",
    "fraction of the labels": r"\b[Ss]hares? of (?:(?:the|its|all|a model's|their|labelled) )*labels\b"
    r"|\blabell?ed shares?\b|\b[Ss]hares? of the training patients\b",
    "epochs": r"\bpasses (?:over the labell?ed|of (?:fine-tuning|pretraining|each round|MoCo|that))"
    r"|\b(?:\d+|five|more|fewer|whose|the) passes\b|\bpasses:|_passes\b|\bpasses_",
    "options with dashes": r"(?<![\w-])--[a-z]+(?:[.-][a-z]+)*_[a-z_.-]+",
}
"""Old names of classes and locals, as whole identifiers of the source."""
OLD_IDENTIFIERS = {
    "Told": "Totals",
    "Wanted": "Target",
    "Said": "FormattedValue",
    "Here": "InProcessPool",
    "told": "what it holds",
    "wanted": "what it holds",
    "said": "what it holds",
    "here": "what it holds",
    "passes": "epochs",
}


@dataclass(frozen=True)
class Stays:
    """Where an old name stays: a pattern of files, one of the line, and why."""

    files: str
    line: str
    reason: str


EXCEPTIONS = [
    Stays(r"src/hilum/options\.py", r"", "the table of renamed options has the old names"),
    Stays(r"", r"strangers\.csv|label-hints\.csv|seen\.parquet", "names of files"),
    Stays(r"src/.*\.py", r"\"(?:strangers?|hints?|label-hints)\"", "keys in card.json"),
    Stays(r"src/hilum/images/(?:npz|decoding/worker)\.py", r"alarm", "SIGALRM"),
    Stays(r"", r"--part-column|\bpart_column\b", "an option of 0.1.0 that was not renamed"),
    Stays(r"", r"\.wanted\b|\bwanted=|^    wanted:|\"wanted\"", "the key of rounds.json"),
    Stays(r"src/.*", r"\"in no part\"", "a value in card.json"),
    Stays(r"src/.*", r"\"grown\"", "a value in analysis.json"),
    Stays(r"", r"[Oo]f course|in the course of", "another sense"),
    Stays(r"", r"health\.(?:py|care)|watch (?:the|its) loss", "another sense"),
    Stays(r"", r"forward passes|passes of the backbone", "a pass through a network"),
]


@dataclass(frozen=True)
class Left:
    """An old name that is left."""

    where: str
    line: str
    old: str
    new: str


def old_names(name: str, text: str) -> Iterator[Left]:
    """Yield the old names in a text, exceptions left out."""
    for number, line in enumerate(text.splitlines(), start=1):
        if any(re.search(e.files, name) and e.line and re.search(e.line, line) for e in EXCEPTIONS):
            continue
        for new, pattern in OLD_NAMES.items():
            match = re.search(pattern, line)
            if match:
                yield Left(f"{name}:{number}", line.strip(), match.group(), new)


def old_identifiers(name: str, text: str) -> Iterator[Left]:
    """Yield the old names of classes and locals in Python source."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and token.string in OLD_IDENTIFIERS:
            if any(re.search(e.files, name) and re.search(e.line, token.line) for e in EXCEPTIONS):
                continue
            where = f"{name}:{token.start[0]}"
            yield Left(where, token.line.strip(), token.string, OLD_IDENTIFIERS[token.string])


def left_in(path: Path) -> list[Left]:
    """Return what is left in one file."""
    if not path.exists():
        return []
    name = path.relative_to(ROOT).as_posix()
    if any(re.search(e.files, name) and not e.line for e in EXCEPTIONS):
        return []
    text = path.read_text(encoding="utf-8")
    return [*old_names(name, text), *(old_identifiers(name, text) if path.suffix == ".py" else ())]


def help_pages() -> dict[str, str]:
    """Return every command's help page by its command line."""
    from hilum.cli import main
    from hilum.cli.commands import COMMANDS, FAMILIES, family_members

    pages = {}
    members = [[command, member] for command in FAMILIES for member in family_members(command)]
    for words in [[], *([command] for command in COMMANDS), *members]:
        with redirect_stdout(io.StringIO()) as shown, suppress(SystemExit):
            main([*words, "--help"])
        pages[" ".join(["hilum", *words, "--help"])] = shown.getvalue()
    return pages


def listed(left: list[Left]) -> str:
    return "\n".join(f"{each.where}: {each.old!r} -> {each.new}: {each.line}" for each in left)


@pytest.mark.parametrize(
    "folder",
    [
        "src",
        "docs",
        "README.md",
        "CONTRIBUTING.md",
        "benchmarks",
    ],
)
def test_no_old_name_is_left(folder: str) -> None:
    paths = [path for path in TEXTS if path.relative_to(ROOT).parts[0] == folder]
    left = [each for path in paths for each in left_in(path)]
    assert not left, f"{len(left)} old names\n{listed(left)}"


def test_no_old_name_is_left_in_the_help() -> None:
    pages = help_pages()
    assert all(pages.values())
    left = [each for name, page in pages.items() for each in old_names(name, page)]
    assert not left, f"{len(left)} old names\n{listed(left)}"


@pytest.mark.parametrize(
    ("line", "new"),
    [
        ("class LessonOptions:", "TrainingSet"),
        ("train_lesson = 1", "TrainingSet"),
        ("a film of part `test`", "Subsets; split"),
        ("self.watch.add(loss)", "monitor"),
        ("`--drop_seen` leaves them out", "training manifest, exclude_training_images"),
        ("at 10 % of the labels: 0.1 as share of the labels", "fraction of the labels"),
        ("trained for 12 passes", "epochs"),
        ("hilum finetune --train.batch_size 16", "options with dashes"),
        ("models grown by pseudo-labels", "self-training"),
    ],
)
def test_the_scan_sees_an_old_name(line: str, new: str) -> None:
    assert new in {each.new for each in old_names("docs/page.md", line)}


@pytest.mark.parametrize("line", ["lists/strangers.csv", "a part of the film", "of course not"])
def test_the_scan_leaves_other_senses_alone(line: str) -> None:
    assert not list(old_names("docs/page.md", line))


if __name__ == "__main__":
    remaining = [each for path in TEXTS for each in left_in(path)]
    counts = Counter(each.where.rpartition(":")[0] for each in remaining)
    by_file = "\n".join(f"{count:>5}  {file}" for file, count in counts.most_common())
    sys.stdout.write(f"{listed(remaining)}\n{by_file}\n{len(remaining)} old names\n")
