"""The folder on disk: CheXpert's layout, the same bytes for any number of workers, masks that fit the truth."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from hilum.annotations.mask_files import read_masks
from hilum.errors import DataError, OptionError
from hilum.findings import CHEXPERT
from hilum.phantoms import PhantomOptions, write_phantoms

HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,"
    "Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
OPTIONS = PhantomOptions(count=700, prevalence="even", seed=7)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms") / "set"
    write_phantoms(folder, OPTIONS)
    return folder


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def tables(root: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    train, valid, truth = (
        pd.read_csv(root / f"{name}.csv") for name in ("train", "valid", "truth")
    )
    return train, valid, truth


def on_disk(root: Path, path: str) -> Path:
    return root / path.removeprefix("CheXpert-v1.0-small/")


def mask_of(root: Path, path: str) -> dict[str, np.ndarray]:
    return read_masks(
        root / "masks" / Path(path).relative_to("CheXpert-v1.0-small").with_suffix(".png")
    )


def test_tables_have_chexperts_header_and_cells(root: Path) -> None:
    for name in ("train", "valid"):
        assert (root / f"{name}.csv").read_text().splitlines()[0] == HEADER
    train, valid, _ = tables(root)
    both = pd.concat([train, valid])
    assert set(both["Sex"]) == {"Male", "Female"}
    lateral = both["Frontal/Lateral"] == "Lateral"
    assert both["AP/PA"].isna().equals(lateral)
    assert set(both.loc[~lateral, "AP/PA"]) == {"AP", "PA"}
    assert set(train["No Finding"].dropna()) == {1.0}
    cells = train[list(CHEXPERT[1:])].to_numpy()
    assert set(np.unique(cells[~np.isnan(cells)])) == {-1.0, 0.0, 1.0}
    assert np.isnan(cells).any()


def test_every_path_is_a_grey_film_of_the_size_asked(root: Path) -> None:
    train, valid, truth = tables(root)
    assert len(train) + len(valid) == len(truth) == OPTIONS.count
    pattern = r"CheXpert-v1\.0-small/{}/patient\d{{5}}/study\d+/view\d_(frontal|lateral)\.jpg"
    for table, part in ((train, "train"), (valid, "valid")):
        assert table["Path"].str.fullmatch(pattern.format(part)).all()
    for path in truth["Path"]:
        image = cv2.imread(str(on_disk(root, path)), cv2.IMREAD_UNCHANGED)
        assert image.shape == (64, 64)
        assert image.dtype == np.uint8
    assert len(list(root.rglob("*.jpg"))) == OPTIONS.count


def test_a_fifth_of_the_patients_is_in_valid_and_none_in_both(root: Path) -> None:
    train, valid, _ = tables(root)
    patients = [set(table["Path"].str.extract(r"(patient\d+)")[0]) for table in (train, valid)]
    assert not patients[0] & patients[1]
    assert len(patients[1]) == round(len(patients[0] | patients[1]) / 5)


def test_valid_is_fully_labelled_with_the_truth(root: Path) -> None:
    _, valid, truth = tables(root)
    cells = valid[list(CHEXPERT)].to_numpy()
    assert set(np.unique(cells)) == {0.0, 1.0}
    assert np.array_equal(
        cells, truth.set_index("Path").loc[valid["Path"], list(CHEXPERT)].to_numpy()
    )


def test_masks_show_exactly_what_is_there(root: Path) -> None:
    _, _, truth = tables(root)
    for path, *cells in truth[["Path", *CHEXPERT[1:]]].itertuples(index=False):
        masks = mask_of(root, path)
        assert not masks["No Finding"].any()
        assert [bool(masks[name].any()) for name in CHEXPERT[1:]] == [
            cell == 1 for cell in cells
        ], path
        assert masks["Edema"].shape == (64, 64)


def test_worker_count_does_not_change_a_byte(tmp_path: Path) -> None:
    options = PhantomOptions(count=150, size=32, seed=11)
    seen: list[tuple[int, int]] = []
    alone = write_phantoms(
        tmp_path / "one", options, lambda done, total: seen.append((done, total))
    )
    several = write_phantoms(tmp_path / "three", options, workers=3)
    assert digest(tmp_path / "one") == digest(tmp_path / "three")
    assert (alone.films, alone.patients, alone.valid_patients) == (
        several.films,
        several.patients,
        several.valid_patients,
    )
    assert seen[-1] == (150, 150)


def test_a_film_depends_on_its_own_place_only(root: Path, tmp_path: Path) -> None:
    write_phantoms(tmp_path / "few", PhantomOptions(count=40, prevalence="even", seed=7))
    many = digest(root)
    few = {
        name: value
        for name, value in digest(tmp_path / "few").items()
        if name.endswith((".jpg", ".png"))
    }
    assert len(few) == 80
    assert all(many[name] == value for name, value in few.items())


def test_an_odd_size_and_a_single_film_work(tmp_path: Path) -> None:
    result = write_phantoms(tmp_path / "one", PhantomOptions(count=1, size=150))
    train = pd.read_csv(tmp_path / "one" / "train.csv")
    assert (result.films, len(train), result.valid_films) == (1, 1, 0)
    assert cv2.imread(str(on_disk(tmp_path / "one", train["Path"][0]))).shape == (150, 150, 3)
    assert not (tmp_path / "one" / "valid.csv").exists()


def test_a_second_call_draws_nothing_and_an_unfinished_one_is_mended(tmp_path: Path) -> None:
    options = PhantomOptions(count=12, size=32)
    assert not write_phantoms(tmp_path / "set", options).already_done
    before = digest(tmp_path / "set")
    assert write_phantoms(tmp_path / "set", options).already_done
    record = tmp_path / "set" / "phantoms.json"
    record.write_text(record.read_text().replace("true", "false"))
    next((tmp_path / "set").rglob("*.jpg")).write_bytes(b"half a film")
    (tmp_path / "set" / ".train.csv.77.part").write_text("Path,Se")
    assert not write_phantoms(tmp_path / "set", options).already_done
    assert digest(tmp_path / "set") == before


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "set", PhantomOptions(count=2, size=32))
    with pytest.raises(OptionError, match="other options"):
        write_phantoms(tmp_path / "set", PhantomOptions(count=3, size=32))
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OptionError, match="is not empty"):
        write_phantoms(tmp_path, PhantomOptions(count=2, size=32))
    with pytest.raises(OptionError, match="give 1 or more"):
        write_phantoms(tmp_path / "new", PhantomOptions(count=2, size=32), workers=0)


def test_what_is_no_mask_is_refused(root: Path, tmp_path: Path) -> None:
    film = next(root.rglob("*.jpg"))
    for path in (film, tmp_path / "none.png"):
        with pytest.raises(DataError, match="is no mask"):
            read_masks(path)


def test_the_brightness_of_a_film_does_not_tell_its_findings(root: Path) -> None:
    _, _, truth = tables(root)
    films = np.stack(
        [cv2.imread(str(on_disk(root, path)), cv2.IMREAD_GRAYSCALE) for path in truth["Path"]]
    )
    facts = StandardScaler().fit_transform(np.stack([films.mean((1, 2)), films.std((1, 2))], 1))
    held_out = truth["Path"].str.contains("/valid/").to_numpy()
    scores = []
    for name in CHEXPERT:
        labels = truth[name].to_numpy()
        model = LogisticRegression().fit(facts[~held_out], labels[~held_out])
        scores.append(roc_auc_score(labels[held_out], model.decision_function(facts[held_out])))
    assert (
        np.mean(scores) < 0.55
    )  # 14 findings on some 140 films; by finding, benchmarks/phantom_difficulty.py
