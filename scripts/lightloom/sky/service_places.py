"""Awkward places of the services: rims of radii, two objects at one place, edges of error circles.

The Parquet catalogues see nothing there, so that these places do not change them.
"""

from collections.abc import Iterator
from typing import Any

from lightloom.sky.geometry import shift
from lightloom.sky.places import SERVICE_RADIUS_ARCSEC, Place, awkward_target, seen_by
from lightloom.sky.sources import Source
from lightloom.sky.targets import Target

#: Where error circles end beside a target.
EVENT_EDGE = awkward_target("event-edge", 27.4, -4.6, "between the edges of two error circles")


def service_places() -> Iterator[Place]:
    """Yield the places that are awkward for the services alone.

    Yields
    ------
    Place
        Their targets' ids begin with ``awkward-``.
    """
    yield from _rims()
    yield from _pairs()
    yield from _rubin_objects()
    yield Place((EVENT_EDGE,), (), has_field_stars=False)


def _place(target: Target, *sources: Source) -> Place:
    return Place((target,), sources, has_field_stars=False)


def _rims() -> Iterator[Place]:
    """Put sources just inside and just outside the radius of each service."""
    for number, (name, sign) in enumerate((("inside", -1.0), ("outside", 1.0))):
        label = f"sources 0.01 arcsec {name} the search radius of the services"
        target = awkward_target(f"service-radius-{name}", 26.0 + 3.0 * number, -3.0, label)
        sources = [
            _source(
                f"service-radius-{name}-{archive}",
                shift(target.ra_deg, target.dec_deg, 50.0 * angle, radius_arcsec + sign * 0.01),
                archive,
                scatter_arcsec=0.0,
            )
            for angle, (archive, radius_arcsec) in enumerate(SERVICE_RADIUS_ARCSEC.items())
        ]
        yield _place(target, *sources)


def _source(name: str, position: tuple[float, float], *archives: str, **properties: Any) -> Source:
    """Return a source that only some services see."""
    return Source(
        name=name, ra_deg=position[0], dec_deg=position[1], **seen_by(*archives), **properties
    )


def _pairs() -> Iterator[Place]:
    """Put two objects of the same service within its radius."""
    target = awkward_target("two-objects", 26.0, -4.0, "two objects of each service")
    yield _pair(target, *SERVICE_RADIUS_ARCSEC)
    target = awkward_target("nsc-split", 27.3, -4.0, "two NSC objects, never in one exposure")
    yield _pair(target, "nsc", near={"nsc_parity": 0}, far={"nsc_parity": 1})
    target = awkward_target("rubin-duplicate", 28.6, -4.0, "a Rubin object and its duplicate")
    yield _pair(target, "rubin", near={"rubin_is_primary": False})


def _pair(
    target: Target,
    *archives: str,
    near: dict[str, Any] | None = None,
    far: dict[str, Any] | None = None,
) -> Place:
    name = target.objectid.removeprefix("awkward-")
    sources = [
        _source(
            f"{name}-{side}",
            shift(target.ra_deg, target.dec_deg, angle_deg, distance_arcsec),
            *archives,
            scatter_arcsec=0.01,
            **(properties or {}),
        )
        for side, angle_deg, distance_arcsec, properties in (
            ("near", 0.0, 0.4, near),
            ("far", 200.0, 0.6, far),
        )
    ]
    return _place(target, *sources)


def _rubin_objects() -> Iterator[Place]:
    kinds: dict[str, tuple[str, tuple[float, float], dict[str, Any]]] = {
        "not-primary": (
            "a Rubin object that is not primary",
            (26.4, -3.4),
            {"rubin_is_primary": False},
        ),
        "faint": (
            "Rubin fluxes scatter around zero",
            (26.8, -3.4),
            {"g_mag": 27.5, "r_mag": 27.5, "i_mag": 27.5},
        ),
    }
    for name, (label, position, properties) in kinds.items():
        target = awkward_target(f"rubin-{name}", *position, label)
        yield _place(target, _source(f"rubin-{name}", position, "rubin", **properties))
