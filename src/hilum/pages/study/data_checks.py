"""The check of a study's data on its page: copies, patients, outlier images and shortcuts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hilum.counts import counted
from hilum.pages.card.checks import (
    Check,
    copies_check,
    outlier_check,
    patients_check,
    shortcut_checks,
)
from hilum.pages.card.tables import leaks_table, shortcuts_table
from hilum.pages.study.read import Study
from hilum.pages.wording import listed
from hilum.workflows.study.data_checks import DataChecks


def data_check_sections(study: Study) -> dict[str, Any]:
    """Return what the page says of the check, by the name that its template uses; None where there was none."""
    data = study.checks
    if data is None:
        return {"checked": None}
    shortcuts = data.shortcuts
    return {
        "checked": {
            "checks": list(_checks(study, data)),
            "leaks": leaks_table(data.copies.leaks) if data.copies.groups else None,
            "shortcuts": None if shortcuts.reason else shortcuts_table(shortcuts),
            "rule": shortcuts.rule,
            "beside": shortcuts.beside,
        }
    }


def _checks(study: Study, data: DataChecks) -> Iterator[Check]:
    """Yield the check's results in the words of a data card."""
    films = {
        store.source: (len(store), int(store.catalog["patient"].nunique()))
        for store in study.stores
    }
    split = study.split
    names = ("train", "val", "test", "official-test")
    splits = sum(len(split.rows(study.store.catalog, name)) > 0 for name in names)
    yield copies_check(data.copies)
    yield patients_check(data.patients, films, splits)
    counts = {name: count for name, (count, _) in films.items()}
    yield outlier_check(counts, sum(data.outliers.values()))
    if data.shortcuts.flags:
        for flag in data.shortcuts.flags:
            yield Check("checked", f"Possible shortcut. {flag.words}", True)
        if data.shortcuts.untested:
            names_untested = listed(list(data.shortcuts.untested))
            needed = data.shortcuts.needed
            yield Check(
                "checked", f"Shortcuts: not tested: {names_untested} (each needs {needed})."
            )
    else:
        yield from shortcut_checks((data.shortcuts,))
    columns = study.store.catalog[["age", "sex", "view_position"]]
    if not data.shortcuts.reason and not np.any(columns.notna().to_numpy()):
        yield Check(
            "checked", "Shortcuts by age, sex and view: not tested: no film states any of them."
        )


def data_limits(study: Study) -> Iterator[tuple[str, str]]:
    """Yield the problems that the check found, as limits of what the study shows."""
    data = study.checks
    if data is None:
        yield (
            "The films were not checked.",
            "Copies, patients in several splits, outlier images and shortcuts: not tested: the study's check of its "
            "data was not run.",
        )
        return
    if data.copies.straddling:
        yield (
            "Copies in several splits.",
            f"{counted(data.copies.straddling, 'group')} of copies are in several splits, so scores on them may be too "
            "high.",
        )
    if data.shortcuts.flags:
        names = listed(list(dict.fromkeys(flag.finding for flag in data.shortcuts.flags)))
        yield (
            "Shortcuts are possible.",
            f"A linear probe that sees no chest predicts {names} about as well as one of the whole film does: a model "
            "may have learnt that instead of the finding.",
        )
    elif data.shortcuts.why_untested:
        yield ("Shortcuts were not tested.", f"Reason: {data.shortcuts.why_untested}.")
