"""Which files are taken of what MAST lists."""

from typing import Any

import pytest

from lightloom.errors import ArchiveSchemaError
from lightloom.services.products import choose_products

OPTIONS: dict[str, Any] = {
    "object_id": {"column": "target_name", "pattern": r"^kplr(\d+)$", "name": "KIC {}"},
    "field": {"column": "description", "pattern": r"Q(\d+)", "name": "q{:02d}"},
    "choice": [
        {"author": "Kepler", "exposure_s": None, "file": r"_llc\.fits$"},
        {"author": "Kepler", "exposure_s": None, "file": r"_slc\.fits$"},
    ],
}
OBSERVATION = {
    "obsid": "7",
    "target_name": "kplr000000123",
    "provenance_name": "Kepler",
    "t_exptime": 1800.0,
}


def product(name: str, quarter: int, **changes: Any) -> dict[str, Any]:
    return {
        "obsID": 7,
        "dataURI": f"mast:Kepler/{name}",
        "productFilename": name,
        "description": f"Lightcurve - Q{quarter}",
        "size": 1000,
    } | changes


def chosen(*products: dict[str, Any], **changes: Any) -> list[tuple[str, str, str]]:
    found, _ = choose_products([OBSERVATION], products, OPTIONS | changes)
    return [(one.object_id, one.field, one.uri.rpartition("/")[2]) for one in found]


def test_long_cadence_is_better_than_the_months_of_the_short_one() -> None:
    months = [product(f"{month}_slc.fits", 4) for month in "cab"]
    assert chosen(*months) == [
        ("KIC 123", "q04", "a_slc.fits"),
        ("KIC 123", "q04", "b_slc.fits"),
        ("KIC 123", "q04", "c_slc.fits"),
    ]
    long = product("x_llc.fits", 4)
    assert chosen(*months, long) == [("KIC 123", "q04", "x_llc.fits")]
    _, left_out = choose_products([OBSERVATION], [*months, long], OPTIONS)
    assert left_out == {"Kepler": 3}


def test_each_quarter_is_chosen_for_itself() -> None:
    files = [product("a_llc.fits", 12), product("b_slc.fits", 3), product("b_slc.fits.pdf", 3)]
    assert chosen(*files) == [("KIC 123", "q03", "b_slc.fits"), ("KIC 123", "q12", "a_llc.fits")]


def test_file_listed_twice_is_read_once() -> None:
    assert len(chosen(product("a_llc.fits", 1), product("a_llc.fits", 1))) == 1


def test_files_of_other_observations_are_not_taken() -> None:
    assert chosen(product("a_llc.fits", 1, obsID=8)) == []


@pytest.mark.parametrize(("exposure_s", "is_taken"), [(1800, True), (1805, True), (1765, False)])
def test_cadence_is_compared_as_the_portal_rounds_it(exposure_s: float, is_taken: bool) -> None:
    choice = [OPTIONS["choice"][0] | {"exposure_s": exposure_s}]
    assert bool(chosen(product("a_llc.fits", 1), choice=choice)) == is_taken


def test_cadence_that_is_not_listed_fits_any_alone() -> None:
    files = [product("a_llc.fits", 1)]
    unknown = OBSERVATION | {"t_exptime": None}
    choice = OPTIONS["choice"][0]
    for exposure_s, n_files in ((None, 1), (1800, 0)):
        options = OPTIONS | {"choice": [choice | {"exposure_s": exposure_s}]}
        assert len(choose_products([unknown], files, options)[0]) == n_files


def test_size_that_is_not_listed_counts_as_usual() -> None:
    found, _ = choose_products([OBSERVATION], [product("a_llc.fits", 1, size=None)], OPTIONS)
    assert found[0].size_bytes == 2 << 20


def test_field_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ArchiveSchemaError, match="column 'description' is 'Lightcurve'"):
        chosen(product("a_llc.fits", 1, description="Lightcurve"))
