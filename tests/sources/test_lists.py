import pytest

from hilum.sources.lists import list_items


@pytest.mark.parametrize(
    ("cell", "items"),
    [
        ("['cardiomegaly', 'pleural effusion']", ["cardiomegaly", "pleural effusion"]),
        (" [ 'normal' ] ", ["normal"]),
        ("[]", []),
        ("[ ]", []),
        ("['']", []),
        ("['edema', '']", ["edema"]),
        ('["edema", "mass"]', ["edema", "mass"]),
        ("[\"Crohn's disease\", 'mass']", ["Crohn's disease", "mass"]),
        (r"['Crohn\'s disease']", ["Crohn's disease"]),
        ("['a, b', 'c']", ["a, b", "c"]),
        ("[edema, pleural effusion]", ["edema", "pleural effusion"]),
        ("[edema; mass]", ["edema", "mass"]),
        ("[edema|mass]", ["edema", "mass"]),
        ("('edema', 'mass')", ["edema", "mass"]),
        ("('edema',)", ["edema"]),
        ("{'edema', 'mass'}", ["edema", "mass"]),
        ("{edema,mass}", ["edema", "mass"]),
        ("['edema' 'pleural effusion']", ["edema", "pleural effusion"]),
        ("['edema'\n 'mass']", ["edema", "mass"]),
        ('c("edema", "mass")', ["edema", "mass"]),
        (r'["\u00f6dem"]', ["ödem"]),
        ("[u'edema']", ["edema"]),
        ("[1, 0, 1]", ["1", "0", "1"]),
        ("[Barrett's oesophagus, mass]", ["Barrett's oesophagus", "mass"]),
    ],
)
def test_lists_of_other_programs(cell: str, items: list[str]) -> None:
    assert list_items(cell) == items


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "edema",
        "edema|mass",
        "mass (old)",
        "(old) fracture",
        "(old) fracture (new)",
        "c",
        "cardiomegaly",
    ],
)
def test_plain_texts_are_no_lists(cell: str) -> None:
    assert list_items(cell) is None


@pytest.mark.parametrize(
    "cell",
    ["['edema'", "[", "['edema, 'mass']", "[['edema'], ['mass']]", "['a' 'b' ... 'z']", "['a]"],
)
def test_lists_that_were_cut_are_refused(cell: str) -> None:
    with pytest.raises(ValueError, match="a list that"):
        list_items(cell)
