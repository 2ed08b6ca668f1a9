"""Everything that a study's page is filled with, and the tables that are written beside it."""

from __future__ import annotations

from typing import Any

from hilum.report.study_card import card, failed_table, nameless
from hilum.report.study_charts import key
from hilum.report.study_data import data_sections
from hilum.report.study_facts import fact_sections
from hilum.report.study_films import film_sections
from hilum.report.study_findings import finding_sections, positive_patients
from hilum.report.study_gallery import gallery_sections
from hilum.report.study_growth import growth_sections
from hilum.report.study_limits import fractions_in_words, limits
from hilum.report.study_measures import in_words, measure_sections
from hilum.report.study_policies import policy_sections
from hilum.report.study_read import Study
from hilum.report.study_repeat import flow, repeat
from hilum.report.study_results import result_sections
from hilum.report.study_training import training_sections


def study_sections(study: Study) -> dict[str, Any]:
    """Return everything that the page shows, by the names that its template uses."""
    parts = {
        **data_sections(study),
        **fact_sections(study),
        **film_sections(study),
        **(result_sections(study) if study.rows else {"answers": [], "results": None}),
        **(finding_sections(study) if study.rows else {}),
        **measure_sections(study),
        **policy_sections(study),
        **growth_sections(study),
        **gallery_sections(study.record),
        **training_sections(study),
        "flow": flow(study),
        "failed": failed_table(study),
        "faults": [nameless(line, set(study.store.catalog["patient"])) for line in study.record.faults],
        "card": card(study),
        "repeat": repeat(study),
    }
    return {
        "study": study,
        "names": study.names,
        "key": key(study.names),
        "fractions": fractions_in_words(study.fractions),
        "test": study.analysis.get("test"),
        "fewest": min(positive_patients(study).values(), default=None),
        "chosen": in_words(study),
        "limits": limits(study),
        "counts": _counts(study),
        **parts,
    }


def _counts(study: Study) -> dict[str, int]:
    """Return how many runs are in which state."""
    states = [cell.state for cell in study.record.cells]
    return {state: states.count(state) for state in ("done", "failed", "waiting", "running")}
