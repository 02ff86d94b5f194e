"""Names of comets and asteroids as people write them, and what Horizons is asked for."""

import json

import pytest

from lightloom.errors import ConfigError
from lightloom.moving.designations import objects_of_list, only_numbered, parse


@pytest.mark.parametrize(
    ("name", "designation"),
    [
        ("1P", "1P"),
        ("1P/Halley", "1P"),
        ("67P/Churyumov-Gerasimenko", "67P"),
        (" 29P/Schwassmann-Wachmann  1 ", "29P"),
        ("3D/Biela", "3D"),
        ("1I/'Oumuamua", "1I"),
        ("2I/Borisov", "2I"),
        ("2I = C/2019 Q4", "2I"),
        ("C/2019 Q4 (Borisov) = 2I/Borisov", "C/2019 Q4"),
        ("3I", "3I"),
        ("3I/ATLAS", "3I"),
        ("3I/ATLAS = C/2025 N1 (ATLAS)", "3I"),
        ("C/2025 N1 (ATLAS)", "C/2025 N1"),
        ("95P/Chiron = 2060 Chiron", "95P"),
        ("P/2010 V1", "P/2010 V1"),
        ("C/2020 F3 (NEOWISE)", "C/2020 F3"),
        ("A/2017 U1", "A/2017 U1"),
        ("C/-43 K1", "C/-43 K1"),
    ],
)
def test_comets_are_asked_for_by_designation(name: str, designation: str) -> None:
    query = parse(name)
    assert (query.id, query.id_type) == (designation, "designation")
    assert query.is_comet
    assert not query.is_fragment


@pytest.mark.parametrize(
    ("name", "designation"),
    [
        ("332P-A", "332P-A"),
        ("332P-A/Ikeya-Murakami", "332P-A"),
        ("332P/Ikeya-Murakami-A", "332P-A"),
        ("332P-C = P/2010 V1-C", "332P-C"),
        ("73P-BT", "73P-BT"),
        ("73P/Schwassmann-Wachmann 3-BT", "73P-BT"),
        ("C/2019 Y4-B (ATLAS)", "C/2019 Y4-B"),
        ("D/1993 F2-A", "D/1993 F2-A"),
    ],
)
def test_fragments_are_asked_for_by_themselves(name: str, designation: str) -> None:
    query = parse(name)
    assert (query.id, query.id_type) == (designation, "designation")
    assert query.is_comet
    assert query.is_fragment


@pytest.mark.parametrize(
    ("name", "id_", "id_type"),
    [
        ("433", "433", "smallbody"),
        ("(433) Eros", "433", "smallbody"),
        ("2060 Chiron = 95P/Chiron", "2060", "smallbody"),
        ("2020 CD3", "2020 CD3", "designation"),
        ("2040 P-L", "2040 P-L", "designation"),
        ("3138 T-1", "3138 T-1", "designation"),
        ("Ceres", "Ceres", "smallbody"),
        ("Encke", "Encke", "smallbody"),
    ],
)
def test_what_is_no_comet_by_its_name(name: str, id_: str, id_type: str) -> None:
    query = parse(name)
    assert (query.id, query.id_type) == (id_, id_type)
    assert not query.is_comet


def test_numbered_objects_of_a_list() -> None:
    names = ["1P/Halley", "73P-BT", "2I = C/2019 Q4", "C/2020 F3", "433", "2020 CD3", "Ceres"]
    assert only_numbered(names) == ["1P/Halley", "73P-BT", "2I = C/2019 Q4", "433"]


def test_lists_as_they_come() -> None:
    names = ["1P/Halley", "332P-A"]
    written = {
        "lines": "# comets\n1P/Halley\n\n332P-A\n1P/Halley\n",
        "CSV": "number,Designation\n1,1P/Halley\n2,332P-A\n",
        "JSON": json.dumps(
            {"fields": ["spkid", "pdes"], "data": [["1", "1P/Halley"], ["2", names[1]]]}
        ),
    }
    for what, text in written.items():
        assert objects_of_list(text, what) == names
    for text in ("# nothing\n", '{"fields": ["spkid"], "data": [["1"]]}'):
        with pytest.raises(ConfigError, match=r"the list: found .*expected"):
            objects_of_list(text, "the list")
