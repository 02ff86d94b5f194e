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
    nearest_only : bool
        Whether the reference keeps, in each band, only the nearest source of a target; the rows of
        all methods are compared on the reference's rule.
    bands : tuple of str
        Bands that its dense variant has.
    key : str
        Column by which the files are sorted: nested HEALPix cells of order 29; else empty.
    methods : mapping of str to str
        Name of a method to ``module:function``, in the order of the runs. The function takes a
        `methods.Question` and returns a `methods.Found`.
    aims : mapping of str to mapping
        Layout to rival to the ratio of wall times, rival over workflow, that is aimed at; the rival
        ``tuned`` stands for the fastest of the methods whose names begin so.
    """

    name: str
    catalogue: str
    nearest_only: bool
    bands: tuple[str, ...]
    key: str
    methods: Mapping[str, str]
    aims: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


_ENGINE = {"workflow": "engine_methods:workflow", "engine": "engine_methods:bare_engine"}

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            name="ztf",
            catalogue="ztf_dr24_lc-hats",
            nearest_only=True,
            bands=("g", "r"),
            key="_healpix_29",
            methods={
                "workflow": _ENGINE["workflow"],
                "reference": "lsdb_methods:reference",
                "engine": _ENGINE["engine"],
                "tuned one pass": "lsdb_methods:one_pass",
                "tuned two steps": "lsdb_methods:two_steps",
            },
            aims={
                "paged": {"reference": 40.0, "tuned": 15.0},
                "legacy": {"reference": 6.0, "tuned": 3.0},
            },
        ),
        Kind(
            name="unwise",
            catalogue="unwise-neo7-time_domain-healpix_k5.parquet",
            nearest_only=False,
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
