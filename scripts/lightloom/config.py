"""The configuration of a run, checked, typed and joined with the catalogue of archives.

Imported whenever the Snakefile is read and in every job, so nothing heavy may be imported here.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from lightloom.access import AUTO, ONPREM, OWN, Copy, choose_copy, run_region
from lightloom.config_checks import CLUSTERS_ELSEWHERE, NESTED_OPTIONS, cross_check, merge_copies
from lightloom.config_schema import Problem, check
from lightloom.config_sources import SOURCES, ResolverSpec, SampleSource
from lightloom.errors import ConfigError
from lightloom.module_options import check_module_options
from lightloom.moving.config import MovingConfig

#: Options of an archive that decide what a fetch returns; a change of one of them fetches again.
SETTINGS = (
    "release",
    "endpoint",
    "subsets",
    "layout",
    "detections",
    "unique_objects",
    "kind",
    "query_version",
    "radius_arcsec",
    "chance_offset_arcsec",
    "epoch_jyear",
    "annual_parallax",
    "columns",
    "bands",
    "units",
    "missing",
    "time",
    "quality",
    "footprint",
    "options",
)


@dataclass(frozen=True)
class SampleConfig:
    """The section ``sample``."""

    sources: tuple[SampleSource, ...]
    merge_radius_arcsec: float
    on_bad_row: str

    def as_dict(self) -> dict[str, Any]:
        """Return the section as a JSON-able dict; ``from_dict`` gives it back."""
        return {
            **dataclasses.asdict(self),
            "sources": [dataclasses.asdict(source) for source in self.sources],
        }

    @classmethod
    def from_dict(cls, section: Mapping[str, Any]) -> Self:
        """Make it from a checked section of the configuration."""
        sources = tuple(SOURCES[source["kind"]](**source) for source in section["sources"])
        return cls(sources, section["merge_radius_arcsec"], section["on_bad_row"])


@dataclass(frozen=True)
class ShardConfig:
    """The section ``shards``."""

    max_targets: int


@dataclass(frozen=True)
class DaskConfig:
    """The section ``dask``; config/README.md explains the keys."""

    cluster: str = "local"
    processes_from_requests: int = 64
    address: str | None = None
    scheduler_file: str | None = None
    gateway: dict[str, Any] | None = None
    jobqueue: dict[str, Any] | None = None
    plugin: dict[str, Any] | None = None
    wait_for_workers_s: float = 300.0
    ship_package: bool = False

    @property
    def is_elsewhere(self) -> bool:
        """Whether the workers are other processes than the job and its children."""
        return self.cluster in CLUSTERS_ELSEWHERE

    @classmethod
    def from_dict(cls, section: Mapping[str, Any]) -> Self:
        """Make it from a checked section of the configuration."""
        described = [name for name in CLUSTERS_ELSEWHERE if name in section]
        return cls(**{"cluster": described[0] if described else "local", **section})


@dataclass(frozen=True)
class LocalService:
    """A service on this machine that runs as long as the run does.

    Attributes
    ----------
    name : str
    command : str
        What starts it.
    port : int
        Where it listens.
    environment : dict
        Environment variables to add.
    resolvers : tuple of str
        What resolves the sample and needs the service.
    """

    name: str
    command: str
    port: int
    environment: dict[str, str]
    resolvers: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportConfig:
    """The section ``report``."""

    lightcurves: int


@dataclass(frozen=True)
class Caps:
    """The section ``plan``: what a run may cost; None is no limit."""

    price_per_gb: float
    max_cost: float | None = None
    max_gb: float | None = None
    max_requests: int | None = None
    max_hours: float | None = None


@dataclass(frozen=True)
class ArchiveSpec:
    """A catalogue entry (config/archives.yaml) with the user's options merged over it.

    config/README.md lists the meaning, type and unit of each. ``release`` is that of the copy which
    is read; ``region`` is the region of the cloud that the run is in, or nothing. ``replies`` are
    those of the section of that name (``folder``, ``max_gb``), with ``replay``; nothing if replies
    are neither kept nor replayed.
    """

    name: str
    module: str
    title: str
    release: str
    endpoint: str
    subsets: list[str]
    layout: str
    unique_objects: bool
    kind: str
    storage_options: dict[str, Any]
    query_version: int
    radius_arcsec: float
    chance_offset_arcsec: float
    epoch_jyear: float
    annual_parallax: bool
    missing: list[float]
    quality: dict[str, list[list[Any]]]
    views: dict[str, list[list[Any]]]
    limits: dict[str, Any]
    citation: dict[str, Any]
    footprint: str
    requires: list[str]
    auth: dict[str, str]
    options: dict[str, Any]
    columns: dict[str, Any] = field(default_factory=dict)
    bands: dict[str, dict[str, Any]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    time: dict[str, Any] = field(default_factory=dict)
    detections: dict[str, Any] | None = None
    copies: dict[str, dict[str, Any]] = field(default_factory=dict)
    access: str = AUTO
    region: str = ""
    replies: dict[str, Any] = field(default_factory=dict)

    @property
    def is_replayed(self) -> bool:
        """Whether it is a service whose replies are kept ones, so that nothing is asked."""
        return bool(self.replies.get("replay"))

    @property
    def module_name(self) -> str:
        """Full name of the module that searches the archive."""
        return self.module if "." in self.module else f"lightloom.archives.{self.module}"

    @property
    def places(self) -> list[Copy]:
        """Where the data are: the place that the entry itself names, and all copies by name."""
        client = self.storage_options.get("client_kwargs", {})
        own = Copy(
            OWN,
            self.endpoint,
            (self.detections or {}).get("endpoint", ""),
            client.get("region_name", ""),
            self.storage_options,
        )
        return [own, *(Copy(name, **self.copies[name]) for name in sorted(self.copies))]

    @property
    def place(self) -> Copy:
        """The place that is read: of a catalogue, or of the files that a service lists.

        Raises
        ------
        ConfigError
            If ``access`` allows none.
        """
        copy = choose_copy(self.places, self.access, self.region)
        if copy is None:
            listed = ", ".join(map(str, self.places))
            raise ConfigError(
                f"archives.{self.name}.access: found {ONPREM!r}, but the data are in a cloud alone:"
                f" {listed}; expected 'auto' or 'cloud'"
            )
        return copy

    @property
    def endpoints(self) -> list[str]:
        """Roots of the catalogues that are searched for positions, in the place that is read."""
        return [self.endpoint] if self.layout == "service" else self.roots(self.place)

    def roots(self, place: Copy) -> list[str]:
        """Return the roots of the catalogues that are searched for positions in a place."""
        root = place.endpoint
        return [root.replace("{subset}", name) for name in self.subsets] or [root]

    def catalogues(self, place: Copy) -> list[tuple[str, str]]:
        """Return root and layout of every catalogue in a place; a service has none."""
        if self.layout == "service":
            return []
        found = [(root, self.layout) for root in self.roots(place)]
        if self.detections:
            found.append((place.detections, self.detections["layout"]))
        return found

    def settings(self) -> dict[str, Any]:
        """Return the options that decide what a fetch returns, JSON-able and with sorted keys."""
        return _canonical({name: getattr(self, name) for name in SETTINGS})

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as a JSON-able dict with sorted keys; ``from_dict`` gives it back."""
        return _canonical(dataclasses.asdict(self))

    def located(self, folder: Path) -> Self:
        """Return the entry with its paths made absolute, for a worker in another folder.

        Parameters
        ----------
        folder : Path
            The folder that relative paths begin in.
        """

        def absolute(path: str) -> str:
            return path if "://" in path else str(folder / Path(path).expanduser())

        def with_absolute(entry: dict[str, Any], name: str) -> dict[str, Any]:
            return entry | {name: absolute(entry[name])} if entry.get(name) else entry

        return dataclasses.replace(
            self,
            endpoint=absolute(self.endpoint),
            detections=self.detections and with_absolute(self.detections, "endpoint"),
            copies={
                name: with_absolute(with_absolute(copy, "endpoint"), "detections")
                for name, copy in self.copies.items()
            },
            auth=with_absolute(self.auth, "token_file"),
            replies=with_absolute(self.replies, "folder"),
        )

    def as_configured(self, places: Iterable[str], folder: Path) -> set[str]:
        """Name places as the configuration does, also those that a worker in another folder tells.

        Parameters
        ----------
        places : iterable of str
            Names of places, of this entry or of what `located` makes of it.
        folder : Path
            The folder that relative paths begin in.
        """
        located = self.located(folder).places
        names = {str(one): str(place) for one, place in zip(located, self.places, strict=True)}
        return {names.get(place, place) for place in places}

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Self:
        """Make it from the dict that ``as_dict`` returned."""
        return cls(**entry)


@dataclass(frozen=True)
class Run:
    """A checked configuration.

    Attributes
    ----------
    results : Path
        Folder into which everything is written.
    archives : dict of str to ArchiveSpec
        Every archive of the catalogue, by name, in the order of the names.
    enabled : tuple of str
        Names of the archives to search, sorted.
    services : tuple of LocalService
        What the archives to search need on this machine.
    publish : str
        The prefix of an object store to which the results are copied on request, or nothing.
    moving : MovingConfig or None
        The search for moving objects, if the configuration has one.
    moving_services : tuple of LocalService
        What it needs besides.
    resolvers : dict of str to ResolverSpec
        Services that are asked for targets, by name.
    resolver_services : tuple of LocalService
        What these need on this machine.
    """

    results: Path
    sample: SampleConfig
    shards: ShardConfig
    archives: dict[str, ArchiveSpec]
    enabled: tuple[str, ...]
    services: tuple[LocalService, ...]
    allow_partial: bool
    publish: str
    dask: DaskConfig
    report: ReportConfig
    caps: Caps
    resolvers: dict[str, ResolverSpec]
    resolver_services: tuple[LocalService, ...]
    moving: MovingConfig | None = None
    moving_services: tuple[LocalService, ...] = ()

    @property
    def services_folder(self) -> Path:
        """Folder in which all that asks services leaves word."""
        return self.results / "parts" / ".services"


def load_run(config: Mapping[str, Any]) -> Run:
    """Check the configuration and join it with the catalogue of archives.

    Parameters
    ----------
    config : mapping
        The configuration, as Snakemake has merged it from its files and the command line; the
        catalogue (config/archives.yaml) is its section ``catalogue``.

    Returns
    -------
    Run

    Raises
    ------
    ConfigError
        If anything is wrong; the message has a line for each wrong key.
    """
    filled, problems = check(config)
    problems += check_module_options(filled, problems)
    problems += cross_check(filled, problems)
    if problems:
        raise ConfigError(_message(problems))
    options, catalogue = filled["archives"], filled["catalogue"]
    where = {"access": filled["access"], "region": run_region(filled["access_region"])}
    replies = _kept_replies(filled)
    archives = {
        name: ArchiveSpec(
            name=name,
            replies=replies if catalogue[name]["layout"] == "service" else {},
            **where | _merge_options(catalogue[name], options.get(name, {})),
        )
        for name in sorted(catalogue)
    }
    enabled = tuple(name for name in sorted(options) if options[name]["enabled"])
    archives |= _placed([archives[name] for name in enabled])
    moving = MovingConfig.from_dict(filled["moving"]) if "moving" in filled else None
    limits = filled["resolvers"].pop("limits")
    resolvers = {
        name: ResolverSpec(name, endpoint, limits)
        for name, endpoint in sorted(filled["resolvers"].items())
    }
    services = [
        (LocalService(name=name, **_started(service, tuple(resolvers))), service)
        for name, service in sorted(filled["services"].items())
        if service["enabled"]
    ]
    return Run(
        results=Path(filled["results"]),
        sample=SampleConfig.from_dict(filled["sample"]),
        shards=ShardConfig(**filled["shards"]),
        archives=archives,
        enabled=enabled,
        services=tuple(
            local
            for local, service in services
            if not replies.get("replay")
            and not set(enabled).isdisjoint(service.get("archives", enabled))
        ),
        allow_partial=filled["allow_partial"],
        publish=filled["publish"],
        dask=DaskConfig.from_dict(filled["dask"]),
        report=ReportConfig(**filled["report"]),
        caps=Caps(**filled["plan"]),
        moving=moving,
        moving_services=tuple(
            local for local, _ in services if local.name in (moving.services if moving else ())
        ),
        resolvers=resolvers,
        resolver_services=tuple(local for local, _ in services if local.resolvers),
    )


def _kept_replies(filled: Mapping[str, Any]) -> dict[str, Any]:
    """Return where replies of services are kept or taken from, if anywhere."""
    # The command line gives text: --config replay=true.
    is_replay = filled["replay"] in (True, "true")
    section = filled["replies"]
    if not (is_replay or section["keep"]):
        return {}
    return {"folder": section["folder"], "max_gb": section["max_gb"], "replay": is_replay}


def _started(service: Mapping[str, Any], resolvers: tuple[str, ...]) -> dict[str, Any]:
    """Return what starts a service; one that says nothing of its users is for all of them."""
    users = service.get("resolvers", () if "archives" in service else (*resolvers, "tap"))
    return {
        "command": service["command"],
        "port": service["port"],
        "environment": dict(service["environment"]),
        "resolvers": tuple(users),
    }


def _placed(specs: list[ArchiveSpec]) -> dict[str, ArchiveSpec]:
    """Return entries, by name, with the release of the place that each is read from.

    Raises
    ------
    ConfigError
        If there is one of which no place may be read.
    """
    return {
        spec.name: dataclasses.replace(spec, release=spec.place.release or spec.release)
        for spec in specs
    }


def _canonical(value: dict[str, Any]) -> dict[str, Any]:
    """Return plain dicts with sorted keys, so that the order in a file does not matter."""
    canonical: dict[str, Any] = json.loads(json.dumps(value, sort_keys=True))
    return canonical


def _message(problems: list[Problem]) -> str:
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in the configuration:"
    return "\n  ".join([count, *map(str, sorted(problems, key=lambda problem: problem.sort_key))])


def _merge_options(entry: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Replace options of a catalogue entry; nested options are replaced one by one."""
    given = {key: value for key, value in options.items() if key != "enabled"}
    for key in NESTED_OPTIONS & given.keys():
        given[key] = entry[key] | given[key]
    if "copies" in given:
        given["copies"] = merge_copies(entry["copies"], given["copies"])
    return entry | given
