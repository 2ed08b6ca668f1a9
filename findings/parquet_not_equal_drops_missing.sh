#!/usr/bin/env bash
# pandas and pyarrow: rows without a value under a filter of read_parquet.
#
# Guess: read_parquet(path, filters=[("Edema", "!=", 1)]) keeps the rows that table[table["Edema"] != 1]
#        keeps, only without reading the others; and "!= 1" keeps what "not in {1}" keeps.
# What happens: "!=" drops every row without a value, "not in" keeps them. A cell that is not a number
#        becomes a missing one when pandas writes it, so the frame that was written and the same
#        filter in memory keep them.
# Why it matters: in tables of findings most cells are empty (the report does not mention the finding);
#        the films without a statement vanish from what was to be "all but the films with edema".
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1 || exit 2
cd "$folder" && "$folder/venv/bin/python" -W error - <<'PY'
import sys

import pandas as pd
import pyarrow

print("pandas", pd.__version__, "pyarrow", pyarrow.__version__, "Python", sys.version.split()[0])
table = pd.DataFrame({"film": list("abcde"), "Edema": [1.0, 0.0, -1.0, None, None]})
table.to_parquet("films.parquet")
kept = {
    'table[table["Edema"] != 1]': table[table["Edema"] != 1],
    'table[~table["Edema"].isin([1])]': table[~table["Edema"].isin([1])],
    'filters=[("Edema", "!=", 1)]': pd.read_parquet("films.parquet", filters=[("Edema", "!=", 1)]),
    'filters=[("Edema", "not in", {1})]': pd.read_parquet(
        "films.parquet", filters=[("Edema", "not in", {1})]
    ),
}
films = {name: "".join(rows["film"]) for name, rows in kept.items()}
print("Edema of films a to e:", table["Edema"].tolist())
for name, letters in films.items():
    print(f"{name:36} keeps {letters}")
holds = list(films.values()) == ["bcde", "bcde", "bc", "bcde"]
print("the finding holds" if holds else "the behaviour has changed")
sys.exit(0 if holds else 1)
PY
