import pytest

from hilum.findings import CHEXPERT, NIH14, SYNONYMS, canonical, positions


def test_the_vocabularies_have_14_findings_each() -> None:
    assert len(set(CHEXPERT)) == len(set(NIH14)) == 14


@pytest.mark.parametrize("name", [*CHEXPERT, *NIH14])
def test_every_name_of_the_vocabularies_is_its_own_spelling_in_any_case(name: str) -> None:
    assert (
        canonical(name)
        == canonical(name.upper())
        == canonical(f" {name.lower().replace(' ', '_')} ")
        == name
    )


@pytest.mark.parametrize("synonym", SYNONYMS)
def test_synonyms_lead_into_the_vocabularies(synonym: str) -> None:
    assert canonical(synonym) in {*CHEXPERT, *NIH14}


def test_nih_spellings() -> None:
    assert [canonical(name) for name in ("Effusion", "Pleural_Thickening", "Infiltrate")] == [
        "Pleural Effusion",
        "Pleural Thickening",
        "Infiltration",
    ]


def test_positions_map_by_canonical_name_and_foreign_names_exactly() -> None:
    assert positions(
        ["effusion", "Scoliosis", "scoliosis", "Hernia"], ["Scoliosis", "Pleural Effusion"]
    ) == [
        1,
        0,
        None,
        None,
    ]
