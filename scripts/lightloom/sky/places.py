"""Where the embedded sky holds something worth a search: the sample's targets, and awkward places.

An awkward place is one where a search is easily wrong: a pole, right ascension zero, a border or a
corner of HEALPix cells, the edge of a survey, a crowd, a neighbour at the rim of the search radius.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.coordinates import UnitSphericalRepresentation

from lightloom.sky.geometry import (
    cell_centre,
    cell_corner,
    cell_edge,
    coordinates,
    healpix_cells,
    shift,
)
from lightloom.sky.sources import RR_LYRAE, Source, agn
from lightloom.sky.streams import random_stream
from lightloom.sky.targets import MERGE_RADIUS_ARCSEC, Target, group_targets, leading_target
from lightloom.sky.unwise import tile_edge
from lightloom.sky.ztf import stored_position

#: Radii that the searches use; the neighbours at the rim are placed by them.
RADIUS_ARCSEC = {"gaia": 1.0, "neowise": 2.5, "panstarrs": 1.0, "unwise": 2.5, "ztf": 1.5}

#: The same for the services that find objects by position; events have their own radii.
SERVICE_RADIUS_ARCSEC = {
    "hcv": 1.0,
    "k2": 3.0,
    "kepler": 3.0,
    "nsc": 1.0,
    "rubin": 1.0,
    "tess": 3.0,
    "xmm": 5.0,
}


@dataclass(frozen=True)
class Place:
    """Targets and the sources meant for them.

    Attributes
    ----------
    targets : tuple of Target
        One or more targets.
    sources : tuple of Source
        The sources put there, possibly none.
    has_field_stars : bool
        Whether background stars are put around the first target in both archives.
    """

    targets: tuple[Target, ...]
    sources: tuple[Source, ...]
    has_field_stars: bool = True


def sample_places(targets: list[Target], seed: int) -> Iterator[Place]:
    """Put one active galactic nucleus at each target.

    Parameters
    ----------
    targets : list of Target
        Targets of the sample; those within `MERGE_RADIUS_ARCSEC` share a source, in their middle.
    seed : int
        Seed of the sky.

    Yields
    ------
    Place
        With one target, the leading one of its group.
    """
    groups = group_targets(targets, MERGE_RADIUS_ARCSEC)
    for number in range(groups.max() + 1):
        members = [targets[i] for i in np.flatnonzero(groups == number)]
        leader = leading_target(members)
        middle = coordinates([t.ra_deg for t in members], [t.dec_deg for t in members])
        direction = middle.cartesian.mean().represent_as(UnitSphericalRepresentation)
        source = agn(leader.objectid, float(direction.lon.deg), float(direction.lat.deg), seed)
        yield Place((leader,), (source,))


def awkward_places(seed: int) -> Iterator[Place]:
    """Yield the awkward places.

    Parameters
    ----------
    seed : int
        Seed of the sky.

    Yields
    ------
    Place
        Their targets' ids begin with ``awkward-``.
    """
    yield from _poles()
    yield from _right_ascension_zero()
    yield from _healpix_borders()
    yield from _search_radius()
    yield from _crowds(seed)
    yield from _survey_edges()
    yield from _kinds_of_light_curves(seed)
    yield from _detections_across_borders()
    yield from _holes_in_light_curves()


def awkward_target(name: str, ra_deg: float, dec_deg: float, label: str) -> Target:
    """Return the target of an awkward place."""
    # Nine decimals are microarcseconds, and keep the table of targets readable.
    return Target(f"awkward-{name}", round(ra_deg, 9), round(dec_deg, 9), label)


def _single(
    name: str,
    label: str,
    target_deg: tuple[float, float],
    source_deg: tuple[float, float],
    **properties: Any,
) -> Place:
    """Return a place with one target and one source."""
    return Place(
        (awkward_target(name, *target_deg, label),),
        (Source(name=name, ra_deg=source_deg[0], dec_deg=source_deg[1], **properties),),
    )


def _poles() -> Iterator[Place]:
    across = Source(
        name="pole-north",
        ra_deg=200.0,
        dec_deg=90.0 - 0.2 / 3600.0,
        scatter_arcsec=0.0,
        in_tess=True,
        in_xmm=True,
    )
    near = awkward_target(
        "pole-north", 20.0, 90.0 - 1.2 / 3600.0, "the source is on the other side of the pole"
    )
    exact = awkward_target("pole-north-exact", 0.0, 90.0, "at the pole itself")
    yield Place((near, exact), (across,))
    yield _single(
        "pole-south",
        "the source is on the other side of the pole",
        (20.0, -90.0 + 0.5 / 3600.0),
        (200.0, -90.0 + 0.5 / 3600.0),
        in_tess=True,
        in_xmm=True,
    )


def _right_ascension_zero() -> Iterator[Place]:
    label = "target and source on different sides of right ascension zero"
    looked_at = {f"in_{name}": True for name in SERVICE_RADIUS_ARCSEC}
    yield _single(
        "ra-zero-east", label, (0.0001, 12.0), (359.9999, 12.0), **looked_at, mast_odd_zero=True
    )
    yield _single("ra-zero-west", label, (359.9999, 14.0), (0.0001, 14.0), **looked_at)
    yield _single("ra-zero-exact", "at right ascension zero", (0.0, 16.0), (0.0001, 16.0))
    yield _single("ra-360-exact", "at right ascension 360", (360.0, 18.0), (359.9999, 18.0))


def _across(name: str, label: str, border_deg: tuple[float, float], order: int, cell: int) -> Place:
    """Put the target inside a cell, beside a point of its border, and the source outside."""
    inwards = coordinates(*border_deg).position_angle(coordinates(*cell_centre(order, cell)))
    target_deg = shift(*border_deg, inwards.deg, 0.5)
    # Not straight across: beyond a corner that direction is itself a border.
    source_deg = shift(*border_deg, inwards.deg + 210.0, 0.6)
    return _single(name, label, target_deg, source_deg, scatter_arcsec=0.02)


def _healpix_borders() -> Iterator[Place]:
    label = "corner of base cells, where a cell has seven neighbours"
    for quarter in range(4):
        # Cells 4 to 7 are the equatorial base cells: three cells meet at their northern corners.
        cell = 4 + quarter
        border_deg = cell_corner(0, cell, "N")
        yield _across(f"base-corner-north-{90 * quarter:03d}", label, border_deg, 0, cell)
    yield _across("base-corner-south-090", label, cell_corner(0, 5, "S"), 0, 5)
    yield _across(
        "base-corner-equator-045", "corner of four base cells", cell_corner(0, 0, "S"), 0, 0
    )
    for order, ra_deg, dec_deg in (
        (2, 210.0, 20.0),
        (3, 62.0, 35.0),
        (5, 100.0, 5.0),
        (5, 250.0, 60.0),
    ):
        cell = int(healpix_cells(ra_deg, dec_deg, order)[0])
        where = f"order{order}-{cell}"
        yield _across(
            f"edge-{where}", f"edge of cells of order {order}", cell_edge(order, cell), order, cell
        )
        corner_deg = cell_corner(order, cell, "W")
        yield _across(
            f"corner-{where}", f"corner of cells of order {order}", corner_deg, order, cell
        )


def seen_by(*archives: str) -> dict[str, Any]:
    """Return the attributes of a source that only some surveys see."""
    return {f"in_{name}": name in archives for name in (*RADIUS_ARCSEC, *SERVICE_RADIUS_ARCSEC)}


def _search_radius() -> Iterator[Place]:
    """Put sources just inside and just outside the radius of each archive."""
    for number, (name, sign) in enumerate((("inside", -1.0), ("outside", 1.0))):
        # Small coordinates: there ZTF's single-precision positions are finest.
        ra_deg, dec_deg = stored_position(5.0 + 2.0 * number, 3.0)
        target_deg = shift(ra_deg, dec_deg, 0.0, RADIUS_ARCSEC["ztf"] + sign * 0.01)
        position_deg = {"ztf": (ra_deg, dec_deg)}
        for angle_deg, archive in (
            (90.0, "unwise"),
            (45.0, "gaia"),
            (270.0, "neowise"),
            (0.0, "panstarrs"),
        ):
            position_deg[archive] = shift(
                *target_deg, angle_deg, RADIUS_ARCSEC[archive] + sign * 0.01
            )
        sources = tuple(
            Source(
                name=f"radius-{name}-{archive}",
                ra_deg=position[0],
                dec_deg=position[1],
                scatter_arcsec=0.0,
                **seen_by(archive),
            )
            for archive, position in position_deg.items()
        )
        label = f"sources 0.01 arcsec {name} the search radius"
        yield Place((awkward_target(f"radius-{name}", *target_deg, label),), sources)
    first = awkward_target("pair-west", 130.0, 12.0, "another target 3 arcsec away")
    second = awkward_target(
        "pair-east", *shift(130.0, 12.0, 90.0, 3.0), "another target 3 arcsec away"
    )
    yield Place(
        (first, second),
        tuple(
            Source(name=target.objectid, ra_deg=target.ra_deg, dec_deg=target.dec_deg)
            for target in (first, second)
        ),
    )


def _crowds(seed: int) -> Iterator[Place]:
    centre = (84.3, 22.0)
    between = awkward_target("crowd-between", *centre, "between two sources of a crowded field")
    single = awkward_target(
        "crowd-single", *shift(*centre, 120.0, 15.0), "at a single source of a crowded field"
    )
    unresolved = awkward_target(
        "crowd-unresolved", *shift(*centre, 240.0, 25.0), "two sources for unWISE, one for ZTF"
    )
    designed = [
        shift(*centre, 0.0, 0.8),
        shift(*centre, 180.0, 0.8),
        (single.ra_deg, single.dec_deg),
        (unresolved.ra_deg, unresolved.dec_deg),
        shift(unresolved.ra_deg, unresolved.dec_deg, 0.0, 2.0),
    ]
    rng = random_stream(seed, "crowd")
    n_random = 40
    ra_deg, dec_deg = shift(
        np.full(n_random, centre[0]),
        np.full(n_random, centre[1]),
        rng.uniform(0.0, 360.0, n_random),
        3.0 * 20.0 ** rng.random(n_random),
    )
    crowd = coordinates(ra_deg, dec_deg)
    targets = (between, single, unresolved)
    is_apart = np.all(
        [crowd.separation(coordinates(t.ra_deg, t.dec_deg)).arcsec > 4.0 for t in targets], axis=0
    )
    positions = [*designed, *zip(ra_deg[is_apart], dec_deg[is_apart], strict=True)]
    sources = tuple(
        Source(
            name=f"crowd-{number}",
            ra_deg=float(ra),
            dec_deg=float(dec),
            r_mag=float(rng.uniform(17.0, 20.0)),
            scatter_arcsec=0.03,
            ztf_max_epochs=60,
        )
        for number, (ra, dec) in enumerate(positions)
    )
    yield Place(targets, sources)


def _survey_edges() -> Iterator[Place]:
    for dec_deg in (-31.5, -47.0, -72.0):
        position = (160.0 + dec_deg, dec_deg)
        yield _single(
            f"south{dec_deg:+.1f}", "south of the declinations of ZTF", position, position
        )
    yield Place((awkward_target("empty", 330.0, 8.0, "no source within an arcminute"),), ())
    yield _single(
        "ztf-only", "too faint for unWISE", (332.0, -12.0), (332.0, -12.0), in_unwise=False
    )
    yield _single("unwise-only", "too red for ZTF", (334.0, -14.0), (334.0, -14.0), in_ztf=False)
    lonely = awkward_target("unwise-outside", 345.0, 50.0, "no unWISE partition here")
    yield Place(
        (lonely,),
        (
            Source(
                name="unwise-outside",
                ra_deg=lonely.ra_deg,
                dec_deg=lonely.dec_deg,
                in_unwise=False,
            ),
        ),
        has_field_stars=False,
    )
    overlap_deg = tile_edge(275.5, 33.0)
    yield _single("coadd-overlap", "detected in two overlapping coadds", overlap_deg, overlap_deg)


def _kinds_of_light_curves(seed: int) -> Iterator[Place]:
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "constant": ("constant source", {}),
        "rr-lyrae": ("periodic variable", {"kind": RR_LYRAE, "g_mag": 16.4, "r_mag": 16.1}),
        "all-flagged": ("every ZTF epoch is flagged bad", {"ztf_all_flagged": True}),
        "one-epoch": ("ZTF light curves of one epoch", {"ztf_max_epochs": 1}),
        "empty-list": ("one of the ZTF light curves is empty", {"ztf_empty_filterid": 3}),
        "empty-lists": ("all ZTF light curves are empty", {"ztf_max_epochs": 0}),
        "faint": ("unWISE fluxes scatter around zero", {"w1_mag": 20.5, "w2_mag": 20.5}),
        "bright": (
            "near saturation",
            {"g_mag": 13.0, "r_mag": 12.6, "i_mag": 12.4, "w1_mag": 8.5, "w2_mag": 8.5},
        ),
    }
    for number, (name, (label, properties)) in enumerate(kinds.items()):
        position = (18.0 * number + 12.0, 27.0)
        yield _single(name, label, position, position, **properties)
    source = agn("agn", 300.0, -20.0, seed)
    yield Place((awkward_target("agn", 300.0, -20.0, "active galactic nucleus"),), (source,))


def _detections_across_borders() -> Iterator[Place]:
    """Put objects so near a border that some of their detections lie beyond it."""
    for order, ra_deg, dec_deg in ((1, 75.0, 20.0), (2, 130.0, 40.0), (3, 255.0, 10.0)):
        cell = int(healpix_cells(ra_deg, dec_deg, order)[0])
        border_deg = cell_edge(order, cell)
        inwards = coordinates(*border_deg).position_angle(coordinates(*cell_centre(order, cell)))
        position = shift(*border_deg, inwards.deg, 0.05)
        yield _single(
            f"scattered-order{order}",
            "detections on both sides of a border of cells",
            position,
            position,
            scatter_arcsec=0.02,
            panstarrs_scatter_arcsec=0.2,
        )


def _holes_in_light_curves() -> Iterator[Place]:
    """Put sources whose light curves have holes of the kinds that each archive has."""
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "no-epoch-photometry": ("Gaia has no light curve", {"in_gaia": False}),
        "no-transits": ("the Gaia light curve is empty", {"gaia_max_transits": 0}),
        "no-detections": (
            "a Pan-STARRS object without detections",
            {"panstarrs_max_detections": 0},
        ),
        "faint-gaia": (
            "fluxes scatter around zero in BP and RP, and in Pan-STARRS",
            {"g_mag": 22.5, "r_mag": 20.8, "i_mag": 22.4, "w1_mag": 17.0, "w2_mag": 16.5},
        ),
    }
    for number, (name, (label, properties)) in enumerate(kinds.items()):
        position = (18.0 * number + 192.0, 31.0)
        yield _single(name, label, position, position, **properties)
