"""Archives that are Parquet catalogues: from the columns of a catalogue entry to rows."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lightloom.archives.base import SOURCES, Answer, Archive, Request, RequestPlan
from lightloom.catalogs.layouts import CatalogSpec, open_catalog
from lightloom.catalogs.planning import plan_searches
from lightloom.catalogs.search import search_partition
from lightloom.conditions import any_holds
from lightloom.errors import ArchiveSchemaError
from lightloom.motion import positions_at
from lightloom.schema import QUALITY_BAD, QUALITY_GOOD, QUALITY_SUSPECT
from lightloom.times import to_mjd_tdb_barycentre
from lightloom.units import ab_mag_to_mjy, vega_nanomaggy_to_mjy

#: Roles of columns that one name fills.
_SINGLE_ROLES = ("band", "time", "value", "error", "flags")
#: Roles of columns that several names fill.
_LIST_ROLES = ("field", "extra")


def _bare(column: str) -> str:
    """Name of a nested column once it is flattened."""
    return column.rpartition(".")[2]


def _text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return values.cast(pa.string())


def _constant(value: str | None, n_rows: int) -> pa.Array:
    return pa.array([value], pa.string()).take(pa.array(np.zeros(n_rows, np.int64)))


def json_objects(columns: Mapping[str, pa.ChunkedArray]) -> pa.ChunkedArray:
    """Encode columns as one JSON object per row.

    Parameters
    ----------
    columns : mapping of str to pyarrow.ChunkedArray
        Numbers, booleans or strings. Integers keep all their digits, floats the shortest ones that
        give them back.

    Returns
    -------
    pyarrow.ChunkedArray of string
        Objects with the keys in the given order; null, NaN and infinity become ``null``.
    """
    pieces: list[Any] = []
    for name, values in columns.items():
        if pa.types.is_floating(values.type):
            values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type))
        if pa.types.is_string(values.type):
            encoded = values.combine_chunks().dictionary_encode()
            words = pa.array(
                [json.dumps(word) for word in encoded.dictionary.to_pylist()], pa.string()
            )
            values = pa.chunked_array([words.take(encoded.indices)])
        prefix = ("{" if not pieces else ",") + json.dumps(name) + ":"
        pieces += [pa.scalar(prefix), pc.fill_null(_text(values), "null")]
    return pc.binary_join_element_wise(*pieces, pa.scalar("}"), pa.scalar(""))


class CatalogArchive(Archive):
    """Light curves from a HATS or hive-partitioned catalogue, by its entry's columns."""

    kind = "detection"

    def catalog_spec(self) -> CatalogSpec:
        """Return what the reader has to know of the catalogue."""
        columns = self.spec.columns
        return CatalogSpec(
            endpoint=self.spec.endpoint,
            layout=self.spec.layout,
            ra=columns["ra"],
            dec=columns["dec"],
            object_id=columns["object_id"],
            partition=columns.get("partition", ""),
            storage_options=self.spec.storage_options,
        )

    def plan(self, shard: pa.Table) -> RequestPlan:
        ra_deg, dec_deg = positions_at(shard, self.spec.epoch_jyear)
        searches, outside = plan_searches(
            open_catalog(self.catalog_spec()), ra_deg, dec_deg, self.spec.radius_arcsec
        )
        return RequestPlan(
            [Request(search.target, search) for search in searches], np.flatnonzero(outside)
        )

    def answer(self, shard: pa.Table, request: Request) -> Answer:
        found = search_partition(
            self.catalog_spec(), request.what, self.spec.radius_arcsec, self._columns()
        )
        sources = pa.table(
            [
                found.matches["target"],
                _text(found.matches["object_id"]),
                found.matches["match_arcsec"],
            ],
            schema=SOURCES,
        )
        return Answer(self._to_rows(found.table, shard), sources, found.reads, found.plan)

    def competing_sources(self, rows: pa.Table) -> pa.Table:
        observation = pc.binary_join_element_wise(
            rows["band"], pc.coalesce(rows["survey_field"], _text(rows["time_mjd"])), "/"
        )
        return pa.table(
            {
                "target": rows["target"],
                "observation": observation,
                "survey_object_id": rows["survey_object_id"],
            }
        )

    def _columns(self) -> list[str]:
        columns = self.spec.columns
        names = [columns["object_id"]]
        names += [columns[role] for role in _SINGLE_ROLES if role in columns]
        names += [name for role in _LIST_ROLES for name in columns.get(role, ())]
        return list(dict.fromkeys(names))

    def _column(self, found: pa.Table, role: str) -> pa.ChunkedArray:
        return found[_bare(self.spec.columns[role])]

    def _to_rows(self, found: pa.Table, shard: pa.Table) -> pa.Table:
        """Turn matched catalogue rows into light-curve rows of their targets."""
        n_rows = found.num_rows
        target = found["target"].to_numpy()
        time_mjd = self._column(found, "time").to_numpy().astype(np.float64)
        value = self._column(found, "value").to_numpy().astype(np.float64)
        error = self._column(found, "error").to_numpy().astype(np.float64)
        band, flux_mjy, flux_err_mjy = self._photometry(found, value, error)
        time = self.spec.time
        time_mjd_tdb = to_mjd_tdb_barycentre(
            time_mjd,
            shard["ra_deg"].to_numpy()[target],
            shard["dec_deg"].to_numpy()[target],
            time_scale=time["scale"],
            time_ref=time["ref"],
        )
        fields = [_text(found[name]) for name in self.spec.columns["field"]]
        extra = {_bare(name): found[_bare(name)] for name in self.spec.columns["extra"]}
        columns = {
            "target": found["target"],
            "band": band,
            "time_mjd": time_mjd,
            "time_scale": _constant(time["scale"], n_rows),
            "time_ref": _constant(time["ref"], n_rows),
            "time_mjd_tdb": time_mjd_tdb,
            "flux_mjy": flux_mjy,
            "flux_err_mjy": flux_err_mjy,
            "native_value": value,
            "native_err": error,
            "native_unit": _constant(self.spec.units["native"], n_rows),
            "mag_system": _constant(self.spec.units["mag_system"], n_rows),
            "flags_native": self._column(found, "flags").cast(pa.int64()),
            "quality": self._quality(found),
            "kind": _constant(self.kind, n_rows),
            "survey_object_id": _text(self._column(found, "object_id")),
            "survey_field": pc.binary_join_element_wise(*fields, "/")
            if fields
            else _constant(None, n_rows),
            "exposure_id": _constant(None, n_rows),
            "match_arcsec": found["match_arcsec"],
            "exposure_s": pa.nulls(n_rows, pa.float64()),
            "native_columns": json_objects(extra),
        }
        return pa.table(
            {
                name: pa.array(values, from_pandas=True)
                if isinstance(values, np.ndarray)
                else values
                for name, values in columns.items()
            }
        )

    def _photometry(
        self, found: pa.Table, value: NDArray[np.float64], error: NDArray[np.float64]
    ) -> tuple[pa.Array, NDArray[np.float64], NDArray[np.float64]]:
        """Return the band's name, the flux and its error [mJy] of each row."""
        codes = _text(self._column(found, "band")).combine_chunks().dictionary_encode()
        known = codes.dictionary.to_pylist()
        unknown = sorted(str(code) for code in known if code not in self.spec.bands)
        if unknown or codes.null_count:
            raise ArchiveSchemaError(
                f"column {self.spec.columns['band']!r}: found bands {unknown or [None]},"
                f" expected {sorted(self.spec.bands)}"
            )
        bands = [self.spec.bands[code] for code in known]
        names = pa.array([band["name"] for band in bands], pa.string()).take(codes.indices)
        if self.spec.units["native"] == "mag":
            return names, *ab_mag_to_mjy(value, error)
        factors = np.array([vega_nanomaggy_to_mjy(band["ab_minus_vega_mag"]) for band in bands])
        factor = factors[codes.indices.to_numpy()]
        return names, value * factor, error * factor

    def _quality(self, found: pa.Table) -> NDArray[np.int8]:
        conditions = self.spec.quality
        quality = np.full(found.num_rows, QUALITY_GOOD, np.int8)
        quality[any_holds(found, conditions["suspect"])] = QUALITY_SUSPECT
        quality[any_holds(found, conditions["bad"])] = QUALITY_BAD
        return quality
