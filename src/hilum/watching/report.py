"""The structured report (TID 1500): a measurement group for each finding, for machines that read results."""

from __future__ import annotations

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from hilum.version import __version__
from hilum.watching import codes as own
from hilum.watching.capture import DESCRIPTION, MANUFACTURER, MARK
from hilum.watching.reading import Reading
from hilum.watching.uids import ResultUids

SERIES_NUMBER = 9902


def structured_report(header: Dataset, reading: Reading, uids: ResultUids) -> Dataset:
    """Return the probabilities, thresholds and findings called as a Comprehensive SR by TID 1500.

    It is neither complete nor verified: no reader has seen it. The film is its evidence.

    Args:
        header: Of the film, by `hilum.watching.source_header`.
        reading: What the model says.
        uids: The result's identifiers.
    """
    device = DeviceObserverIdentifyingAttributes(
        uid=uids.device,
        name="Hilum",
        manufacturer_name=MANUFACTURER,
        model_name=reading.model[:64],
    )
    observer = ObserverContext(CodedConcept("121007", "DCM", "Device"), device)
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=own.PROCEDURE,
        imaging_measurements=[
            _group(finding, header, reading) for finding in reading.probabilities
        ],
        title=codes.DCM.ImagingMeasurementReport,
    )
    report = ComprehensiveSR(
        evidence=[header],
        content=content,
        series_instance_uid=uids.report_series,
        series_number=SERIES_NUMBER,
        sop_instance_uid=uids.report,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=False,
        is_final=False,
        is_verified=False,
        series_description=DESCRIPTION,
        software_versions=__version__,
    )
    scheme = Dataset()
    scheme.CodingSchemeDesignator, scheme.CodingSchemeName = own.OWN, "Hilum"
    scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
    report.CodingSchemeIdentificationSequence = [scheme]
    return report


def _group(
    finding: str, header: Dataset, reading: Reading
) -> MeasurementsAndQualitativeEvaluations:
    """Return probability and threshold of a finding, and whether it is called."""
    threshold = reading.thresholds.get(finding)
    measured = [
        Measurement(own.PROBABILITY, round(reading.probabilities[finding], 6), own.NO_UNITS)
    ]
    judged = []
    if threshold is not None:
        measured.append(Measurement(own.THRESHOLD, round(threshold, 6), own.NO_UNITS))
        value = own.PRESENT if finding in reading.called else own.ABSENT
        judged.append(QualitativeEvaluation(own.CALLED, value))
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(identifier=f"{MARK}: {finding}"[:64]),
        finding_type=own.finding_code(finding),
        algorithm_id=AlgorithmIdentification("Hilum", __version__, [f"model {reading.model}"]),
        measurements=measured,
        qualitative_evaluations=judged,
        source_images=[SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID)],
    )
