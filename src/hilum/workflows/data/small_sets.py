"""Warnings of small sets, in patients, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

from hilum.listener import Listener
from hilum.metrics.estimates import patients_by_class
from hilum.metrics.few_patients import PatientCounts, few_patients_line
from hilum.metrics.resampling import EvaluationLabels
from hilum.workflows.data.subsets import Subsets, truth_of

SPLITS = ("val", "test")


def warn_of_few_patients(
    subsets: Subsets, columns: Sequence[int], unstated: str, listener: Listener
) -> None:
    """Say which findings too few patients of val and test have for a mean AUROC or a narrow interval.

    Args:
        subsets: The films and their splits; a split without a film is passed over.
        columns: Of the films' findings, those that are learnt.
        unstated: What a finding that is not mentioned counts as.
        listener: Hears a line for each of the two splits.
    """
    films = subsets.films
    for split in SPLITS:
        rows = subsets.rows(split)
        if len(rows):
            labels = EvaluationLabels.of(
                *truth_of(films, rows, unstated), films.patient_codes[rows]
            )
            counts = {
                films.findings[column]: PatientCounts(*patients_by_class(labels, column))
                for column in columns
            }
            line = few_patients_line(split, counts)
            if line is not None:
                listener.note(line)
