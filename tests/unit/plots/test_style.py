"""Every band and state has its colour, and only one."""

from lightloom.plots.style import BAND_COLOURS, STATE_COLOURS, band_colours
from lightloom.schema import STATES


def test_every_state_has_a_colour_of_its_own() -> None:
    assert STATE_COLOURS.keys() == set(STATES)
    assert len(set(STATE_COLOURS.values())) == len(STATES)


def test_known_bands_keep_their_colours() -> None:
    assert band_colours(["W2", "r", "new"]) | BAND_COLOURS == band_colours(["W2", "r", "new"])


def test_further_bands_do_not_depend_on_their_order() -> None:
    bands = [f"band{i}" for i in range(9)]
    assert band_colours(bands) == band_colours(bands[::-1])
    assert all(band_colours(bands)[band].startswith("#") for band in bands)
