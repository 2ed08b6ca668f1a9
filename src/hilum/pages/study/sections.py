"""Everything that a study's page is filled with, and the tables that are written beside it."""

from __future__ import annotations

from typing import Any

from hilum.pages.charts.intervals import key
from hilum.pages.study.calibration_and_subgroups import in_words, measure_sections
from hilum.pages.study.data import data_sections
from hilum.pages.study.data_checks import data_check_sections
from hilum.pages.study.enough_labels import enough_label_sections
from hilum.pages.study.films import film_sections
from hilum.pages.study.limitations import fractions_in_words, limits
from hilum.pages.study.localisation import gallery_sections
from hilum.pages.study.model_card import card, failed_table, nameless
from hilum.pages.study.per_finding import finding_sections, positive_patients
from hilum.pages.study.pseudo_labels import self_training_sections
from hilum.pages.study.read import Study
from hilum.pages.study.reproduce import flow, repeat
from hilum.pages.study.results import result_sections
from hilum.pages.study.training import training_sections
from hilum.pages.study.uncertainty import policy_sections


def study_sections(study: Study) -> dict[str, Any]:
    """Return everything that the page shows, by the names that its template uses."""
    parts = {
        **data_sections(study),
        **data_check_sections(study),
        **film_sections(study),
        **(result_sections(study) if study.rows else {"answers": [], "results": None}),
        **(finding_sections(study) if study.rows else {}),
        **enough_label_sections(study),
        **measure_sections(study),
        **policy_sections(study),
        **self_training_sections(study),
        **gallery_sections(study.record),
        **training_sections(study),
        "flow": flow(study),
        "failed": failed_table(study),
        "faults": [
            nameless(line, set(study.store.catalog["patient"])) for line in study.record.faults
        ],
        "card": card(study),
        "repeat": repeat(study),
    }
    states = [cell.state for cell in study.record.cells]
    return {
        "study": study,
        "names": study.names,
        "key": key(study.names),
        "fractions": fractions_in_words(study.fractions),
        "test": study.analysis.test if study.analysis else None,
        "fewest": min(positive_patients(study).values(), default=None),
        "chosen": in_words(study),
        "limits": limits(study),
        "counts": {
            state: states.count(state) for state in ("done", "failed", "waiting", "running")
        },
        **parts,
    }
