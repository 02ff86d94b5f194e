"""Every band and state has its colour, and only one."""

from lightloom.plots.style import BAND_COLOURS, STATE_COLOURS, band_colours
from lightloom.schema import STATES


def test_every_state_has_a_colour_of_its_own() -> None:
    assert STATE_COLOURS.keys() == set(STATES)
    assert len(set(STATE_COLOURS.values())) == len(STATES)


def test_a_band_has_one_colour_in_all_figures() -> None:
    bands = [*BAND_COLOURS, *(f"band{i}" for i in range(9))]
    for band in bands:
        assert band_colours([band])[band] == band_colours(bands[::-1])[band]
        assert band_colours([band])[band].startswith("#")
    assert band_colours(BAND_COLOURS) == BAND_COLOURS
