"""Make the starter model of the package: a small classifier of NIH's 14 findings.

Stages: two stores of 96 px are prepared and split by patient; a network is pretrained by MoCo on the
training films of both without labels; it is fine-tuned on all labels of NIH's training patients, where
validation films choose the epoch, the calibration and the thresholds. Only then, with ``--final``, the
test films are read, once, and the bundle is written with its card.

Run: ``python benchmarks/train_starter.py --data DATA --out DIR [--final BUNDLE]``, where DATA holds nih14 and
kermany224. The same command continues where it was stopped. About ten minutes of one idle core with
AMX, longer without.
Research use only, not a medical device.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

TUNED = "tuned-96"
NETWORK = "test_resnet"
"""timm's smallest residual network: 0.37 million weights in dense convolutions."""
PRETRAIN = (
    "--train.size=48",
    "--train.epochs=4",
    "--train.precision=bf16-mixed",
    "--method.queue-size=2048",
    "--monitor.every=4",
    "--monitor.probe-films=2048",
)
FINETUNE = (
    "--train.size=96",
    "--train.epochs=6",
    "--train.lr=2e-3",
    "--train.precision=bf16-mixed",
    "--train.average=0.98",
    "--patience=0",
)
TERMS = Path(__file__).with_name("starter_terms.md")
"""What the card says after what every card says."""


def commands(data: Path, out: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield the stages: a file that a finished stage leaves, and the command without ``hilum``."""
    nih, kermany, start = out / "nih14", out / "kermany", out / "moco"
    split = ["--seed=0", "--test=0.2", "--val=0.1"]
    table = ["--csv=manifest.csv", "--patient-column=group", "--label-column=class"]
    table += ["--part-column=split", "--mapping.PNEUMONIA=Pneumonia", "--dataset=kermany"]
    yield (
        nih / "manifest.json",
        ["prepare", "nih14", str(data / "nih14"), "--size=96", f"--out={nih}"],
    )
    yield (
        kermany / "manifest.json",
        ["prepare", "folder", str(data / "kermany224"), *table, "--size=96", f"--out={kermany}"],
    )
    for store in (nih, kermany):
        yield store / "split-made", ["split", str(store), *split]
    both = ["--data", str(nih), str(kermany)]
    yield (
        start / "model" / "model.json",
        ["pretrain", "moco", *both, f"--out={start}", f"--backbone={NETWORK}", *PRETRAIN],
    )
    tuned = out / TUNED
    yield (
        tuned / "model" / "model.json",
        ["finetune", f"--data={nih}", f"--init={start}", f"--out={tuned}", *FINETUNE],
    )


def hilum(arguments: list[str]) -> None:
    """Run a command of hilum; it ends this script where it fails."""
    print("hilum", *arguments, file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", "hilum", *arguments], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def finish(nih: Path, run: Path, bundle: Path) -> None:
    """Read the test films, unless that was done, and write the bundle with its card."""
    for part in ("test", "official-test"):
        if not (run / f"predictions-{part}.parquet").exists():
            hilum(["evaluate", str(run), f"--data={nih}", f"--split={part}"])
    hilum(["export", str(run), f"--out={bundle}", "--licence=cc-by-4.0"])
    card = bundle / "README.md"
    text = card.read_text("utf-8").replace("\n# ", "\n# Starter model, ", 1)
    card.write_text(f"{text}\n{TERMS.read_text('utf-8')}", "utf-8")
    hilum(["check", str(bundle)])
    size = sum(path.stat().st_size for path in bundle.iterdir())
    print(f"{bundle}: {size / 1e6:.1f} MB")


def main() -> None:
    """Run the stages that are not finished."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of nih14 and kermany224")
    parser.add_argument("--out", type=Path, required=True, help="folder for stores and runs")
    parser.add_argument("--final", type=Path, help="read the test films and write this bundle")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for made, arguments in commands(options.data, options.out):
        if not made.exists():
            hilum(arguments)
            made.touch()
    if options.final is not None:
        finish(options.out / "nih14", options.out / TUNED, options.final)


if __name__ == "__main__":
    main()
