"""Choose the writer of a format."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.compute as pc
import pyarrow.parquet as pq

from lightloom.errors import ResultError
from lightloom.export.fits import write_fits
from lightloom.export.rows import ExportSource
from lightloom.export.text import write_ecsv, write_votable
from lightloom.hats_export import ShardFiles, write_hats
from lightloom.schema import LIGHTCURVE, SAMPLE, SHARD
from lightloom.storage import ParquetSink, write_table


def export(source: ExportSource, path: Path, format_: str | None = None) -> int:
    """Write rows of a run into one file, in memory that does not grow with them.

    Parameters
    ----------
    source : ExportSource
        The rows.
    path : pathlib.Path
        The file to write, or the folder of a HATS catalogue; what is there is replaced when the
        new one is whole.
    format_ : str, optional
        One of `FORMATS`; without it, the suffix of the path tells.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    ResultError
        If the format is unknown or cannot hold the rows.
    """
    name = format_ or _FORMAT_OF_SUFFIX.get(path.suffix, "")
    if name not in FORMATS:
        found = f"format is {format_!r}" if format_ else f"{path}: its suffix is {path.suffix!r}"
        raise ResultError(
            f"{found}, expected one of the formats {', '.join(FORMATS)} or one of the suffixes"
            f" {', '.join(_FORMAT_OF_SUFFIX)}"
        )
    return FORMATS[name](source, path)


def _parquet(source: ExportSource, path: Path) -> int:
    with ParquetSink(path, source.schema) as sink:
        for block in source.blocks():
            sink.write(block)
    return sink.n_rows


def _hats(source: ExportSource, path: Path) -> int:
    if source.selection.columns is not None:
        raise ResultError("columns cannot be chosen for HATS; its catalogue has all of them")
    if path.exists() and not (path / "hats.properties").exists():
        raise ResultError(
            f"{path}: is there and is no HATS catalogue, so it is not replaced; name another folder"
        )
    dataset, n_rows, shards = source.dataset, 0, []
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as name:
        folder = Path(name)
        chosen = set(dataset.targets(source.selection)["objectid"].to_pylist())
        is_chosen = pc.field("objectid").isin(list(chosen))
        sample = pq.read_table(dataset.results / "sample" / "sample.parquet", filters=is_chosen)
        write_table(folder / "sample.parquet", sample, SAMPLE)
        for shard, objectids in dataset.shards(source.selection):
            files = ShardFiles(
                folder / "shards" / f"{shard}.parquet", folder / "lightcurves" / f"{shard}.parquet"
            )
            of_shard = pc.field("objectid").isin(objectids)
            targets = dataset.results / "shards" / f"{shard}.parquet"
            write_table(files.targets, pq.read_table(targets, filters=of_shard), SHARD)
            with ParquetSink(files.lightcurves, LIGHTCURVE) as sink:
                for block in dataset.shard_blocks(source.selection, shard, objectids):
                    sink.write(block)
            n_rows += sink.n_rows
            shards.append(files)
        if not shards:
            raise ResultError("no targets are selected; expected at least one for a catalogue")
        write_hats(shards=shards, sample_path=folder / "sample.parquet", catalog_path=path)
    return n_rows


#: Writers by format.
FORMATS: dict[str, Callable[[ExportSource, Path], int]] = {
    "parquet": _parquet,
    "hats": _hats,
    "ecsv": lambda source, path: write_ecsv(path, source.schema, source.blocks()),
    "fits": lambda source, path: write_fits(path, source.schema, source.blocks),
    "votable": lambda source, path: write_votable(path, source.schema, source.blocks()),
}

_FORMAT_OF_SUFFIX = {
    ".parquet": "parquet",
    ".hats": "hats",
    ".ecsv": "ecsv",
    ".fits": "fits",
    ".vot": "votable",
    ".xml": "votable",
}
