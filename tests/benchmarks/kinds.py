"""The kinds of catalogues that readers are compared on, and the methods for each."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A catalogue and the ways to search it.

    Attributes
    ----------
    name : str
        Name of its entry in config/archives.yaml, whose columns, bands and layout hold here too.
    catalogue : str
        Its folder among the dense catalogues.
    nearest_in : tuple of str
        The reference keeps only the nearest source of each combination of these: of a ``target``,
        or of a ``target`` and ``band``; all sources if there are none. The rows of all methods are
        compared on the reference's rule.
    objects : str
        The folder of the objects that targets are drawn near.
    object_columns : tuple of str
        Their right ascension, declination and, if the reference keeps the nearest in each band, the
        band.
    bands : tuple of str
        Bands that its dense variant has.
    key : str
        Column by which the files are sorted: nested HEALPix cells of order 29; else empty.
    methods : mapping of str to str
        Name of a method to ``module:function``, in the order of the runs. The function takes a
        `methods.Question` and returns a `methods.Found`.
    detections : str
        The folder of the detections, if they stand in a table of their own.
    aims : mapping of str to mapping
        Layout to rival to the ratio of wall times, rival over workflow, that is aimed at; the rival
        ``tuned`` stands for the fastest of the methods whose names begin so.
    """

    name: str
    catalogue: str
    nearest_in: tuple[str, ...]
    objects: str
    object_columns: tuple[str, ...]
    bands: tuple[str, ...]
    key: str
    methods: Mapping[str, str]
    detections: str = ""
    aims: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


_ENGINE = {"workflow": "engine_methods:workflow", "engine": "engine_methods:bare_engine"}

_ZTF = "ztf_dr24_lc-hats"
_NESTED = {
    "workflow": _ENGINE["workflow"],
    "reference": "lsdb_methods:reference",
    "engine": _ENGINE["engine"],
    "tuned one pass": "lsdb_methods:one_pass",
    "tuned two steps": "lsdb_methods:two_steps",
}
_NESTED_AIMS = {
    "paged": {"reference": 40.0, "tuned": 15.0},
    "legacy": {"reference": 6.0, "tuned": 3.0},
}

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            name="ztf",
            catalogue=_ZTF,
            nearest_in=("target", "band"),
            objects=_ZTF,
            object_columns=("objra", "objdec", "filterid"),
            bands=("g", "r"),
            key="_healpix_29",
            methods=_NESTED,
            aims=_NESTED_AIMS,
        ),
        Kind(
            name="gaia",
            catalogue="gaia_dr3_epoch_phot",
            nearest_in=("target",),
            objects="gaia_dr3_epoch_phot",
            object_columns=("ra", "dec"),
            bands=("G", "BP", "RP"),
            key="_healpix_29",
            methods=_NESTED,
            aims=_NESTED_AIMS,
        ),
        Kind(
            name="panstarrs",
            catalogue="panstarrs/otmo",
            nearest_in=("target",),
            objects="panstarrs/otmo",
            object_columns=("raMean", "decMean"),
            bands=("g", "r", "i", "z", "y"),
            key="_healpix_29",
            methods={
                "workflow": _ENGINE["workflow"],
                "reference": "lsdb_methods:reference_join",
                "engine": _ENGINE["engine"],
                "tuned by ids": "lsdb_methods:join_by_ids",
            },
            detections="panstarrs/detection",
            aims={
                "paged": {"reference": 12.0, "tuned": 8.0},
                "legacy": {"reference": 12.0, "tuned": 8.0},
            },
        ),
        Kind(
            name="unwise",
            catalogue="unwise-neo7-time_domain-healpix_k5.parquet",
            nearest_in=(),
            objects=_ZTF,
            object_columns=("objra", "objdec", "filterid"),
            bands=("W1", "W2"),
            key="",
            methods={
                "workflow": _ENGINE["workflow"],
                "reference": "pyarrow_methods:table_per_pixel",
                "engine": _ENGINE["engine"],
            },
            aims={"paged": {"reference": 4.0}, "legacy": {"reference": 4.0}},
        ),
    )
}
