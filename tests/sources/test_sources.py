import inspect
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

import hilum.sources
from hilum.catalog import FILM_COLUMNS
from hilum.sources import SOURCES, load_source, read_source


def test_every_module_that_reads_a_data_set_is_in_the_table() -> None:
    names = [entry.name for entry in iter_modules(hilum.sources.__path__)]
    readers = {name for name in names if hasattr(import_module(f"hilum.sources.{name}"), "read")}
    assert readers == set(SOURCES)


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_has_frozen_options_with_defaults_and_help(name: str) -> None:
    options = load_source(name).Options
    assert is_dataclass(options)
    assert options.__dataclass_params__.frozen
    assert options() == options()
    source = Path(inspect.getfile(options)).read_text()
    for entry in fields(options):
        line = next(
            line for line in source.splitlines() if line.strip().startswith(f"{entry.name}:")
        )
        assert source.split(line)[1].lstrip().startswith('"""'), (
            f"{entry.name} lacks its line of help"
        )


VINDR = {"train.csv": "image_id,class_name,rad_id,x_min,y_min,x_max,y_max\na,ILD,R1,1,2,3,4\n"}
RSNA = {"stage_2_train_labels.csv": "patientId,x,y,width,height,Target\na,1,2,3,4,1\n"}


def published(export, film: str, tables: dict[str, str]) -> Path:
    export(film)
    for name, text in tables.items():
        (export.root / name).write_text(text)
    return export.root


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_keeps_the_catalogues_rules(
    name: str, nih, chexpert, medmnist, films, mimic, padchest, export
) -> None:
    known = {
        "mimic": mimic,
        "padchest": padchest,
        "nih14": nih,
        "chexpert": chexpert,
        "medmnist": lambda: medmnist().parent,
        "dicom": lambda: export("IM1").parent,
        "vindr": lambda: published(export, "train/a.dicom", VINDR),
        "rsna": lambda: published(export, "stage_2_train_images/a.dcm", RSNA),
    }
    root = known.get(name, lambda: films("a/1.png", "b/2.jpg"))()
    catalog = read_source(name, str(root))
    assert catalog.source == {"folder": "", "medmnist": "chestmnist_64"}.get(name, name)
    assert list(catalog.table.columns) == [*FILM_COLUMNS, *catalog.findings, *catalog.described]
    assert list(catalog.table.index) == list(range(len(catalog.table)))
    files = catalog.files_of(range(len(catalog.table)))
    assert all((root / path.partition("#")[0]).is_file() for path in files)
    assert bool(catalog.reader) == any("#" in path for path in catalog.table["path"])
    assert catalog.table[["path", "patient", "study"]].notna().all().all()
    assert set(catalog.table["part"].dropna()) <= {"train", "val", "test", "official-test"}
    again = read_source(name, root)
    assert again.table.equals(catalog.table)
    assert again.notes == catalog.notes
