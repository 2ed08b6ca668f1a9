"""Requests made from the service's own description: no 5xx, and every answer as described.

Example: ``python benchmarks/serve_schema.py BUNDLE --schemathesis PATH --json``. schemathesis 4.32.5
(MIT) is installed by ``pip install schemathesis==4.32.5`` in an environment of its own, whose command --schemathesis
names. It is run until so many cases were sent, each round with its own seed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from serve_page import drawn_index, service

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
MOST_ROUNDS = 12


def one_round(
    command: str, url: str, seed: int, examples: int, folder: Path
) -> list[dict[str, Any]]:
    """Run schemathesis once, and return its events."""
    events = folder / f"events-{seed}.ndjson"
    arguments = [
        command,
        "run",
        f"{url}openapi.json",
        "--checks",
        ",".join(CHECKS),
        "--seed",
        str(seed),
    ]
    arguments += [
        "--max-examples",
        str(examples),
        "--phases",
        "examples,coverage,fuzzing",
        "--no-shrink",
    ]
    arguments += [
        "--report",
        "ndjson",
        "--report-ndjson-path",
        str(events),
        "--continue-on-failure",
    ]
    arguments += ["--suppress-health-check", "all", "--request-timeout", "30", "--warnings", "off"]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if not events.is_file():
        sys.exit(f"schemathesis did not run: {(ended.stdout + ended.stderr)[-800:]}")
    (folder / f"said-{seed}.txt").write_text(ended.stdout, "utf-8")
    return [json.loads(line) for line in events.read_text("utf-8").splitlines()]


def walked(value: Any) -> list[dict[str, Any]]:
    """Return all objects within an event."""
    if isinstance(value, list):
        return [entry for one in value for entry in walked(one)]
    if isinstance(value, dict):
        return [value, *(entry for one in value.values() for entry in walked(one))]
    return []


def main() -> None:
    """Send the cases, and print what was answered."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--schemathesis", default="schemathesis", help="its command")
    parser.add_argument("--index", type=Path, help="store to compare films with; else one is drawn")
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--examples", type=int, default=40, help="of an operation and round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for what schemathesis printed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    began, statuses, failures, cases = time.monotonic(), Counter[str](), Counter[str](), 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        extra = ["--verdicts", str(Path(scratch) / "collected" / "verdicts.csv"), "--verdict-films"]
        index = options.index or drawn_index(options.model, Path(scratch))
        extra += ["--index", str(index), "--index-pictures"]
        with service(options.model, *extra) as url:
            for number in range(MOST_ROUNDS):
                if cases >= options.cases:
                    break
                seed = options.seed + number
                events = one_round(options.schemathesis, url, seed, options.examples, folder)
                for entry in walked(events):
                    if "status_code" in entry:
                        statuses[str(entry["status_code"])] += 1
                    if entry.get("status") == "failure" and "name" in entry:
                        failures[str(entry["name"])] += 1
                cases = sum(statuses.values())
    seen = {
        "cases": cases,
        "answers": dict(sorted(statuses.items())),
        "failed checks": dict(failures),
        "checks": CHECKS,
        "rounds": number,
        "seconds": round(time.monotonic() - began),
        "cores": len(os.sched_getaffinity(0)),
    }
    print(json.dumps(seen, indent=None if options.json else 1))
    bad = failures or any(status.startswith("5") for status in statuses)
    sys.exit(1 if bad or cases < options.cases else 0)


if __name__ == "__main__":
    main()
