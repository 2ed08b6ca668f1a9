"""Nothing of a patient is kept: strings planted all over DICOM files are in nothing that a command writes or prints."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from exports import Export
from hilum.cli import main

PLAIN = (
    "PatientName", "PatientID", "AccessionNumber", "StudyID", "OtherPatientIDs",
    "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName", "PatientAddress",
    "PatientTelephoneNumbers", "MilitaryRank", "EthnicGroup", "Occupation", "PatientComments",
    "AdditionalPatientHistory", "PatientReligiousPreference", "RegionOfResidence",
    "MedicalRecordLocator", "IssuerOfPatientID", "ReferringPhysicianName",
    "ReferringPhysicianAddress", "PerformingPhysicianName", "NameOfPhysiciansReadingStudy",
    "PhysiciansOfRecord", "OperatorsName", "RequestingPhysician", "RequestingService",
    "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName",
    "DeviceSerialNumber", "DetectorID", "PlateID", "GantryID", "StudyDescription",
    "SeriesDescription", "ProtocolName", "RequestedProcedureDescription", "RequestedProcedureID",
    "PerformedProcedureStepDescription", "PerformedProcedureStepID",
    "ReasonForTheRequestedProcedure", "ImageComments", "DerivationDescription",
    "AcquisitionDeviceProcessingDescription", "CurrentPatientLocation", "AdmissionID",
    "ServiceEpisodeID", "VisitComments", "StudyComments", "PatientInstitutionResidence",
    "TextComments", "PerformedLocation",
)  # fmt: skip
"""Elements of text; each gets a string of its own."""
UIDS = {
    "StudyInstanceUID": "1.2.826.71", "SeriesInstanceUID": "1.2.826.72", "SOPInstanceUID": "1.2.826.73",
    "FrameOfReferenceUID": "1.2.826.74", "IrradiationEventUID": "1.2.826.75",
}  # fmt: skip
DATES = {
    "StudyDate": "2019{:02d}27",
    "AcquisitionDate": "2018{:02d}26",
    "PatientBirthDate": "1947{:02d}13",
}
TIMES = {"StudyTime": "1131{:02d}.448812", "AcquisitionTime": "1242{:02d}.775533"}
SIDE, PATIENTS = 32, 24


class Planted:
    """An export whose every film has the strings, and their list."""

    def __init__(self, root: Path) -> None:
        self.export = Export(root / "Kowalczyk Wanda export")
        self.secrets = {
            "Kowalczyk",
            "folder-Zielinska",
            "film-Nowak",
            "preamble-Wolska",
            "Wisniewski",
        }
        rows = ["accession,Edema,Mass"]
        for number in range(PATIENTS):
            study = f"acc{number:02d}QJXVHUMB"
            rows.append(f"{study},{number % 2},{number // 2 % 2}")
            for view in ("PA", "LL"):
                self._film(number, study, view)
        self.table = root / "labels.csv"
        self.table.write_text("\n".join(rows) + "\n")

    def _film(self, number: int, study: str, view: str) -> None:
        values: dict[str, Any] = {}
        for index, name in enumerate(PLAIN):
            values[name] = f"Q{index:02d}XJVHUMB{number:02d}"
        values["PatientInsurancePlanCodeSequence"] = self._items(f"insured{number:02d}QJXVHUMB")
        values["AccessionNumber"] = study
        values |= {name: f"{uid}{number:02d}{'PL'.index(view[0])}993" for name, uid in UIDS.items()}
        month = number % 12 + 1
        values |= {name: form.format(month) for name, form in {**DATES, **TIMES}.items()}
        values["Rows"] = values["Columns"] = SIDE
        pixels = np.random.default_rng(number).integers(0, 2000, (SIDE, SIDE), np.uint16)
        pixels[4:12, 4:12] += 1800 * (number % 2)
        pixels[20:28, 4:12] += 1800 * (number // 2 % 2)
        values["PixelData"] = pixels.tobytes()
        values["ViewPosition"] = view
        values["RequestAttributesSequence"] = self._items(f"request{number:02d}QJXVHUMB")
        values["OriginalAttributesSequence"] = self._items(f"original{number:02d}QJXVHUMB")
        name = f"folder-Zielinska/film-Nowak {number:02d} {view}"
        file = self.export(name, **values)
        dataset = dcmread(file)
        block = dataset.private_block(0x0009, "creatorQJXVHUMB", create=True)
        block.add_new(0x10, "LO", f"private{number:02d}QJXVHUMB")
        block.add_new(0x11, "SQ", self._items(f"nested{number:02d}QJXVHUMB"))
        late = dataset.private_block(0x7FE1, "lateQJXVHUMB", create=True)
        late.add_new(0x10, "UN", b"lateprivateQJXVHUMB!")
        dataset.add_new(0x60000010, "US", 8)
        dataset.add_new(0x60000011, "US", 16)
        dataset.add_new(0x60001500, "LO", "overlaylabelQJXVHUMB")
        dataset.add_new(0x60003000, "OW", b"overlaydataQJXVHUMB!")
        icon = Dataset()
        icon.PixelData, icon.Rows, icon.Columns = b"iQJXVHUMBQJXVHUM", 4, 4
        icon["PixelData"].VR = "OW"
        dataset.IconImageSequence = Sequence([icon])
        dataset.file_meta.SourceApplicationEntityTitle = "AETQJXVHUMB"
        dataset.file_meta.ImplementationVersionName = "VERSQJXVHUMB"
        dataset.file_meta.PrivateInformationCreatorUID = "1.2.826.7999"
        dataset.file_meta.PrivateInformation = b"metaprivateQJXVHUMB!"
        dataset.preamble = b"preamble-Wolska".ljust(128, b"\0")
        dataset.save_as(file)
        self._collect(dataset)

    def _items(self, text: str) -> Sequence:
        item = Dataset()
        item.CodeMeaning, item.PatientName = text, f"{text}^Name"
        item.RequestedProcedureDescription = f"{text}desc"
        return Sequence([item])

    def _collect(self, dataset: Dataset) -> None:
        for name in (*UIDS, *DATES, *TIMES):
            self.secrets.add(str(dataset[name].value))
        self.secrets |= {"QJXVHUMB", *(f"Q{index:02d}XJVHUMB" for index in range(len(PLAIN)))}

    def found_in(self, where: str, data: bytes) -> list[str]:
        return [f"{secret} in {where}" for secret in self.secrets if secret.encode() in data]


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each file below, of packed ones as they were before packing."""
    for path in sorted(folder.rglob("*")):
        yield f"name {path.name}", path.name.encode()
        if not path.is_file():
            continue
        data = path.read_bytes()
        yield path.name, data
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            yield (
                path.name,
                repr(table.schema.metadata).encode() + table.to_pandas().to_csv().encode(),
            )
        elif zipfile.is_zipfile(io.BytesIO(data)):
            with zipfile.ZipFile(path) as packed:
                for member in packed.namelist():
                    yield f"{path.name}/{member}", packed.read(member)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    root = tmp_path_factory.mktemp("hospital")
    (root / "Kowalczyk Wanda export").mkdir()
    return Planted(root)


def test_nothing_of_a_patient_is_kept_or_printed(
    planted: Planted,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    give_thresholds: Callable[[Path], None],
) -> None:
    root, work = planted.export.root, tmp_path / "work"
    work.mkdir()
    films = sorted((root / "folder-Zielinska").iterdir())
    # Beside the films that are read: one of a leg, one cut off, one that is no film, a copy.
    planted.export("Wisniewski leg", BodyPartExamined="LEG", AccessionNumber="legQJXVHUMB")
    cut = root / "Wisniewski cut"
    cut.write_bytes(films[0].read_bytes()[:-500])
    lied = dcmread(films[2])
    lied.SOPInstanceUID, lied.HighBit = "1.2.826.7000993", 14
    lied.save_as(root / "Wisniewski lied")
    (root / "Wisniewski.txt").write_text("QJXVHUMB")
    (root / "Wisniewski copy").write_bytes(films[3].read_bytes())
    wrong = planted.table.with_name("wrong.csv")
    wrong.write_text("accession,Edema\nnobodyQJXVHUMB,1\n")
    one = dcmread(films[0])
    one.PatientID, one.SOPInstanceUID = "anotherQJXVHUMB", "1.2.826.7001993"

    said: list[str] = []

    def hilum(*words: object, fails: bool | None = False) -> None:
        capsys.readouterr()
        code = main([str(word) for word in words])
        out = capsys.readouterr()
        said.append(out.out + out.err)
        assert code in ((0, 1) if fails is None else (int(fails),)), out.err

    store, names = work / "store", tmp_path / "names.csv"
    read = ["prepare", "dicom", root, "--size", SIDE, "--workers", 1]
    labelled = [*read, "--out", store, "--label-table", planted.table]
    hilum(*read, "--out", work / "no", "--label-table", wrong, fails=True)
    hilum(*labelled, "--label-key", "patient", "--key-column", "accession", fails=True)
    hilum(*labelled, "--names-file", names)
    hilum(*labelled, "--json")
    hilum(*read, "--out", work / "kept", "--keep", "body-part", "--keep-device", "no")
    hilum("split", store, "--seed", 1)
    hilum("check", store)
    tiny = ["--train.epochs", 1, "--train.batch-size", 8, "--train.accelerator", "cpu"]
    hilum(
        "pretrain",
        "moco",
        "--data",
        store,
        "--out",
        work / "moco",
        "--backbone",
        "resnet10t",
        "--monitor.tensorboard",
        *tiny,
    )
    tuned = ["--train.min-steps", 0, "--init", work / "moco", "--fraction", 0.5]
    hilum("finetune", "--data", store, "--out", work / "tuned", *tuned, *tiny)
    give_thresholds(work / "tuned")
    scored = ["--min-positives", 1, "--resamples", 20, "--device", "cpu"]
    hilum("evaluate", work / "tuned", "--data", store, "--split", "test", *scored)
    hilum("predict", work / "tuned", store, "--out", work / "of-store.csv", "--device", "cpu")
    hilum(
        "predict",
        work / "tuned",
        films[0],
        "--out",
        work / "of-one.csv",
        "--device",
        "cpu",
        "--json",
    )
    hilum("predict", work / "tuned", root / "Wisniewski leg", "--out", work / "leg.csv", fails=True)
    assert "another body part: --keep body-part takes it" in said[-1]
    hilum(
        "predict",
        work / "tuned",
        root,
        "--out",
        work / "of-folder.csv",
        "--device",
        "cpu",
        fails=None,
    )
    hilum(
        "explain",
        work / "tuned",
        *films[:2],
        "--out",
        work / "maps",
        "--finding",
        "Edema",
        "--device",
        "cpu",
    )
    hilum("explain", work / "tuned", cut, "--out", work / "none", fails=True)
    hilum("embed", work / "tuned", "--data", store, "--out", work / "f.parquet", "--device", "cpu")
    hilum("probe", work / "tuned", "--data", store, "--split", "test", *scored, "--json")
    labelling = ["--from", work / "tuned", "--rounds", 1, "--train.epochs", 1, "--device", "cpu"]
    hilum("pseudo-label", "--data", store, "--out", work / "rounds", *labelling, "--no-abstain")
    assert (work / "rounds" / "rounds.json").is_file()
    labelling[1] = work / "moco"
    hilum("pseudo-label", "--data", store, "--out", work / "refused", *labelling, fails=True)
    hilum("card", store, "--out", work / "card")
    hilum("report", work / "tuned")
    one.save_as(root / "Wisniewski other")
    hilum(*read, "--out", work / "two", "--label-table", planted.table, fails=True)
    assert "films of several patients" in said[-1]
    (store / "images-00000.npy").write_bytes(bytes(99))
    hilum("check", store, fails=True)

    failures = (store / "failures.csv").read_text().splitlines()
    assert len(failures) == 3  # its header, the film cut off, the one that lies
    failed = {line.split(",")[1] for line in failures[1:]}
    led_back = dict(line.split(",", 1) for line in names.read_text().splitlines())
    assert all("Wisniewski" in led_back[name] for name in failed)
    assert names.stat().st_mode & 0o777 == 0o600
    found = [line for where, data in contents(work) for line in planted.found_in(where, data)]
    for text in said:
        found += planted.found_in("what was printed", text.encode())
    assert not found, json.dumps(sorted(set(found))[:20], indent=1)
    assert len(planted.secrets) > 80
