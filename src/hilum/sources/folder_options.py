"""Options of a folder of films, and the words that it knows for splits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hilum.errors import OptionError
from hilum.options import take_fields
from hilum.sources import tables

Join = Literal["", "any", "majority", "uncertain"]
Notes = tuple[str, ...]

PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "dev": "val",
    "eval": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "official-test": "test",
}
"""Names of splits in data sets, and their names here."""


@dataclass(frozen=True)
class FolderOptions:
    """A folder of films with a CSV, with a folder for each class, or without labels."""

    dataset: str = ""
    """Name of the data set; by default a pseudonym of its root folder's name under the group's key."""
    csv: str = ""
    """File name of the table, below the root; without one every PNG and JPEG below the root is a
    film."""
    path_column: str = "path"
    """Column with the film's path, relative to the root."""
    path_folder: str = ""
    """Folder below the root where the table's paths begin; a bare file name is found in any folder
    where one film alone has it."""
    patient_column: str = ""
    """Column with the patient; without it ``patient_pattern`` counts, else each film is a patient of
    its own."""
    patient_pattern: str = ""
    """Regular expression with one group that matches the patient in the path."""
    study_column: str = ""
    """Column with the visit; without it each film is a study of its own."""
    view_column: str = ""
    """Column with the projection: PA, AP, lateral, in any common spelling."""
    sex_column: str = ""
    """Column with M or F."""
    age_column: str = ""
    """Column with the age in years."""
    part_column: str = ""
    """Column with train, val or test."""
    split_values: dict[str, str] = field(default_factory=dict)
    """Split of another word of that column or another folder, as in ``--split-values.fold5 test``:
    train, val or test; an empty one leaves its films in no split."""
    join: Join = ""
    """Joins several rows of one film, finding by finding: any (present if one row says so),
    majority (a tie is uncertain) or uncertain (where rows differ); by default they are refused."""
    finding_columns: tuple[str, ...] = ()
    """Columns with one finding each: 1, 0, -1 (uncertain) or empty, or the words below."""
    label_column: str = ""
    """Column with a film's classes; the other classes are absent, and all are unstated in an empty
    cell."""
    value_column: str = ""
    """Column that says of the finding in ``label_column`` whether it is present: 1, 0, -1 (uncertain) or
    empty, or the words below. A film has a row for each finding; those without a row are not
    stated."""
    separator: str = "|"
    """Character between the classes of a cell; a list such as ``['edema', 'mass']`` is read as one
    in any case."""
    class_folders: bool = False
    """Without a table: a film's folder is its class, or the one above ``images``."""
    class_level: int = 0
    """Without a table: which folder above a film is its class, 1 the nearest, 2 the one above it;
    folders of images and of splits are not counted. Needed where that is not clear."""
    keep_masks: bool = False
    """Without a table: take what lies in folders called masks, and x_mask.png beside x.png, for
    films."""
    mapping: dict[str, str] = field(default_factory=dict)
    """Finding of a column or class, as in ``PNEUMONIA: Pneumonia``; an empty name leaves it out."""
    absent_values: tuple[str, ...] = ("normal", "no finding", "no_finding", "healthy", "health")
    """Classes that are no finding and mean that all findings are absent."""
    positive_values: tuple[str, ...] = ("yes", "true", "present", "positive")
    """Words for present in finding columns."""
    negative_values: tuple[str, ...] = ("no", "false", "absent", "negative")
    """Words for absent in finding columns."""
    uncertain_values: tuple[str, ...] = ("uncertain",)
    """Words for uncertain in finding columns."""
    unstated_values: tuple[str, ...] = ()
    """Further words for not stated in any column, beside nan, NA, N/A, None and null."""

    def __post_init__(self) -> None:
        """Take a text for a path and a single value for a list; a TypeError refuses anything else."""
        take_fields(self)

    def check_labels(self) -> None:
        """Refuse options of labels that contradict each other.

        Raises:
            OptionError: Names them.
        """
        if self.finding_columns and self.label_column:
            raise OptionError(
                "--finding-columns and --label-column exclude each other: give the one that the table has."
            )
        if self.value_column and not self.label_column:
            raise OptionError(
                f"--value-column {tables.show(self.value_column)} needs --label-column: the column that names the "
                "finding of each row."
            )

    def film_columns(self) -> dict[str, tuple[str, str]]:
        """Return, by option, the catalogue's column that it fills and the table's column, which may be empty."""
        return {
            "patient_column": ("patient", self.patient_column),
            "study_column": ("study", self.study_column),
            "view_column": ("view_position", self.view_column),
            "sex_column": ("sex", self.sex_column),
            "age_column": ("age", self.age_column),
            "part_column": ("part", self.part_column),
        }

    def parts(self) -> dict[str, str]:
        """Return the split of each word, in small letters."""
        named = {tables.fold(word): part for word, part in self.split_values.items()}
        return PARTS | named

    def unstated(self) -> frozenset[str]:
        """Return the words, in small letters, that state nothing; one that another option names is none."""
        named = (
            *self.absent_values, *self.positive_values, *self.negative_values, *self.uncertain_values,
            *self.mapping,
        )  # fmt: skip
        words = {*tables.UNSTATED, *map(tables.fold, self.unstated_values)}
        return frozenset(words - set(map(tables.fold, named)))


def flag(name: str) -> str:
    """Return an option as the command line writes it."""
    return f"--{name.replace('_', '-')}"
