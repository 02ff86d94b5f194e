"""The section ``moving`` of the configuration, typed. Nothing heavy is imported here."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Self

#: Options of a source that decide what it matches.
_MATCH_SETTINGS = (
    "kind",
    "endpoint",
    "observatory",
    "radius_arcsec",
    "exposure_s",
    "time_point",
    "columns",
    "catalog",
    "filter",
    "projection",
)


@dataclass(frozen=True)
class EphemerisConfig:
    """The service of ephemerides."""

    endpoint: str
    error_arcsec: float
    most_lines: int
    limits: dict[str, Any]


@dataclass(frozen=True)
class SourceConfig:
    """An alert source; config/README.md explains the keys."""

    name: str
    kind: str
    endpoint: str
    observatory: str
    radius_arcsec: float
    exposure_s: float
    time_point: str
    columns: dict[str, str]
    storage_options: dict[str, Any]
    auth: dict[str, str]
    query_type: str
    catalog: str
    filter: dict[str, Any]
    projection: list[str]
    cone_radius_arcsec: float
    shortest_stretch_h: float
    largest_cone_arcsec: float
    most_bytes: int
    most_cones: int
    most_alerts: int
    limits: dict[str, Any]

    def settings(self) -> dict[str, Any]:
        """Return what decides the matches."""
        return {name: getattr(self, name) for name in _MATCH_SETTINGS}


@dataclass(frozen=True)
class MovingConfig:
    """The section; `objects` are names or ``{"list": ..., "select": ...}``."""

    objects: tuple[Any, ...]
    start: str
    stop: str
    window: str
    objects_per_job: int
    services: tuple[str, ...]
    requires: tuple[str, ...]
    ephemerides: EphemerisConfig
    uncertainty: dict[str, float]
    sources: tuple[SourceConfig, ...]
    negatives: dict[str, Any]

    @classmethod
    def from_dict(cls, section: Mapping[str, Any]) -> Self:
        """Make it from a checked section of the configuration."""
        options = dict(section)
        return cls(
            **{
                **options,
                "objects": tuple(options["objects"]),
                "services": tuple(options["services"]),
                "requires": tuple(options["requires"]),
                "ephemerides": EphemerisConfig(**options["ephemerides"]),
                "sources": tuple(
                    SourceConfig(
                        name=name,
                        **{key: value for key, value in source.items() if key != "enabled"},
                    )
                    for name, source in sorted(options["sources"].items())
                    if source["enabled"]
                ),
            }
        )

    @property
    def observatories(self) -> list[str]:
        """Observatories of the sources, sorted."""
        return sorted({source.observatory for source in self.sources})

    def as_dict(self) -> dict[str, Any]:
        """Return the section as a dict."""
        return asdict(self)


def check_moving(section: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what a schema cannot say: path below ``moving``, and what was found and expected."""
    days = {}
    for key in ("start", "stop"):
        try:
            days[key] = date.fromisoformat(section[key])
        except ValueError:
            yield (key,), f"found {section[key]!r}, expected a date such as 2019-01-01"
    if len(days) == 2 and days["stop"] <= days["start"]:
        yield ("stop",), f"found {section['stop']!r}, expected a day after start"
    if not any(source["enabled"] for source in section["sources"].values()):
        yield ("sources",), "found none that is enabled, expected at least one"
