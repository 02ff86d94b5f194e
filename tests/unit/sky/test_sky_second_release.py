"""The second release: as many changes as planted, and all else as it was."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightloom.errors import SampleError
from lightloom.sky.places import SERVICE_RADIUS_ARCSEC
from lightloom.sky.second_release import CHANGES, PLANTED, SecondRelease, as_published
from lightloom.sky.targets import Target, read_sample
from lightloom.sky.truth import Catalogue, compute_truth
from project import REPOSITORY, SAMPLE

TABLES = {
    "nsc": ("nsc/nsc_dr2.object", "nsc/nsc_dr2.meas", "nsc/nsc_dr2.exposure"),
    "xmm": ("heasarc/xmmssc",),
}


def tables_of(sky: Path, archive: str) -> tuple[pa.Table, ...]:
    return tuple(pq.read_table(sky / "services" / f"{name}.parquet") for name in TABLES[archive])


def points(targets: list[Target], tables: dict[str, tuple[pa.Table, ...]]) -> Counter[str]:
    catalogues = {
        name: Catalogue(of_archive, SERVICE_RADIUS_ARCSEC[name])
        for name, of_archive in tables.items()
    }
    return Counter(map(str, compute_truth(targets, catalogues)[0].to_pylist()))


def test_truth_differs_in_the_planted_points(sky: Path) -> None:
    sample = read_sample(REPOSITORY / SAMPLE)
    tables = {archive: tables_of(sky, archive) for archive in TABLES}
    release, again = SecondRelease(sample, [], 1), SecondRelease(sample, [], 1)
    edited = {archive: release.edit(archive, one) for archive, one in tables.items()}
    before, after = points(sample, tables), points(sample, edited)
    changed, new, withdrawn = map(sum, zip(*(PLANTED[name] for name in TABLES), strict=True))
    assert (before - after).total() == changed + withdrawn
    assert (after - before).total() == changed + new
    kinds = Counter(release.changes["change"].to_pylist())
    assert kinds == {"changed": changed, "new": new, "withdrawn": withdrawn}
    assert release.changes.schema.equals(CHANGES)
    for archive, of_archive in tables.items():
        same = zip(edited[archive], again.edit(archive, of_archive), of_archive, strict=True)
        for one, other, original in same:
            # No table with NaN equals itself.
            assert str(one.to_pylist()) == str(other.to_pylist())
            assert one.schema.equals(original.schema)
        assert as_published(archive, of_archive) is of_archive


def test_other_archives_stay(sky: Path) -> None:
    tables = tables_of(sky, "xmm")
    assert SecondRelease([], [], 1).edit("saxgrbm", tables) is tables


def test_sample_that_is_too_small(sky: Path) -> None:
    sample = read_sample(REPOSITORY / SAMPLE)[:3]
    with pytest.raises(SampleError, match="expected at least 8 for a second release"):
        SecondRelease(sample, [], 1).edit("xmm", tables_of(sky, "xmm"))


def test_planted_changes_are_37() -> None:
    assert sum(map(sum, PLANTED.values())) == 37
