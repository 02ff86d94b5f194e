"""Sources of targets, and the services that some of them have to be asked for.

Imported whenever the Snakefile is read, so nothing heavy may be imported here.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class TableSource:
    """A table of targets, or an inbox of such tables; config/README.md explains the keys.

    Attributes
    ----------
    kind : str
        ``table``, or ``inbox`` for a folder of tables and each table of it.
    path : str
        The file, folder or URL, as the configuration writes it; messages and source rows repeat it.
    ra, dec, id, label_column, pmra, pmdec, parallax : str or None
        Names of columns.
    ref_epoch : str, float or None
        Name of a column, or the epoch of all rows [Julian year].
    unit : str or None
        Unit of the coordinates, if the configuration states one.
    cone : dict or None
        Centre and radius of the part of the sky to keep [deg].
    max_targets : int or None
        Ids to keep at most.
    """

    kind: str
    path: str
    ra: str
    dec: str
    id: str | None = None
    label: str | None = None
    label_column: str | None = None
    pmra: str | None = None
    pmdec: str | None = None
    parallax: str | None = None
    ref_epoch: str | float | None = None
    unit: str | None = None
    frame: str = "icrs"
    format: str | None = None
    storage_options: dict[str, Any] = field(default_factory=dict)
    cone: dict[str, float] | None = None
    moc: str | None = None
    max_targets: int | None = None


@dataclass(frozen=True)
class LiteratureSource:
    """A published sample, by its name (config/samples/literature.yaml) or its bibcode.

    Attributes
    ----------
    service : str or None
        Which service to ask for its objects.
    catalogue : str or None
        Its catalogue at VizieR, and perhaps the table.
    where : list or None
        Conditions ``[column, operator, value]`` that select rows, all of which have to hold.
    """

    kind: str
    name: str
    service: str | None = None
    catalogue: str | None = None
    where: list[list[Any]] | None = None
    label: str | None = None
    cone: dict[str, float] | None = None
    moc: str | None = None
    max_targets: int | None = None


@dataclass(frozen=True)
class QuasarSource:
    """Quasars of the spectroscopic catalogue of the SDSS.

    Attributes
    ----------
    number : int
    z_min, z_max : float
        Redshifts, the upper end not included.
    seed : int
        Of the choice.
    """

    kind: str
    number: int
    z_min: float = 0.0
    z_max: float = 10.0
    seed: int = 0
    data_release: int = 16
    page_rows: int = 100_000
    label: str | None = None
    cone: dict[str, float] | None = None
    moc: str | None = None
    max_targets: int | None = None


@dataclass(frozen=True)
class TapSource:
    """The reply of a TAP service to a query; the other keys are those of a table."""

    kind: str
    endpoint: str
    adql: str
    ra: str = "ra"
    dec: str = "dec"
    id: str | None = None
    mode: str = "sync"
    maxrec: int = 1_000_000
    auth: dict[str, str] = field(default_factory=dict)
    label: str | None = None
    label_column: str | None = None
    pmra: str | None = None
    pmdec: str | None = None
    parallax: str | None = None
    ref_epoch: str | float | None = None
    frame: str = "icrs"
    cone: dict[str, float] | None = None
    moc: str | None = None
    max_targets: int | None = None


@dataclass(frozen=True)
class ListSource:
    """A list of names, or of ids of ZTF objects, whose positions a service knows.

    Attributes
    ----------
    entries : list of str or None
        The names or ids, as the configuration lists them.
    path : str or None
        A text file with one of them in each line.
    """

    kind: str
    entries: list[str] | None = None
    path: str | None = None
    label: str | None = None
    cone: dict[str, float] | None = None
    moc: str | None = None
    max_targets: int | None = None


class ServiceSpec(Protocol):
    """What a request to a service depends on: an archive's entry, or a resolver's."""

    @property
    def name(self) -> str:
        """Name in messages."""

    @property
    def endpoint(self) -> str:
        """Its address."""

    @property
    def limits(self) -> dict[str, Any]:
        """Limits of requests."""

    @property
    def auth(self) -> dict[str, str]:
        """Where its token is found; empty if it wants none."""

    @property
    def options(self) -> dict[str, Any]:
        """Options of its protocol."""

    @property
    def replies(self) -> dict[str, Any]:
        """Where replies are kept or taken from: ``folder``, ``max_gb``, ``replay``; or nothing."""

    @property
    def is_replayed(self) -> bool:
        """Whether replies are kept ones, and nothing is asked."""


@dataclass(frozen=True)
class ResolverSpec:
    """A service that is asked for targets.

    Attributes
    ----------
    name : str
    endpoint : str
    limits : dict
        As those of an archive.
    auth : dict
        Where its token is found; empty if it wants none.
    options : dict
        As those of an archive that is a TAP service.
    replies : dict
        None are kept: the answers about targets are frozen.
    is_replayed : bool
        Never.
    """

    name: str
    endpoint: str
    limits: dict[str, Any]
    auth: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    replies: dict[str, Any] = field(default_factory=dict)
    is_replayed: bool = False


AskedSource = LiteratureSource | QuasarSource | TapSource | ListSource
SampleSource = TableSource | AskedSource

SOURCES: dict[str, type[SampleSource]] = {
    "table": TableSource,
    "inbox": TableSource,
    "literature": LiteratureSource,
    "sdss_quasars": QuasarSource,
    "tap": TapSource,
    "names": ListSource,
    "ztf_ids": ListSource,
}
