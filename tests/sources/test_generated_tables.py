"""A short form of benchmarks/foreign_tables.py."""

import runpy
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "foreign_tables.py"


def test_every_row_of_a_generated_table_is_kept_excluded_or_failed_by_name(tmp_path: Path) -> None:
    result = runpy.run_path(str(SCRIPT))["check_all"](tmp_path, 60, 100_000, 30)
    assert result["seeds"] == {}
    assert result["read"] > 15
    assert result["stores"] == 2
