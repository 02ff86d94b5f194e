"""The configuration: what is accepted, and the message for everything that is not."""

import copy
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from lightloom.conditions import OPERATORS
from lightloom.config import SETTINGS, ArchiveSpec, Run, SampleConfig, load_run
from lightloom.config_checks import merge_copies
from lightloom.config_docs import MANUAL, update_manual
from lightloom.config_schema import SCHEMAS, find_problems, load_schema
from lightloom.config_sources import SOURCES
from lightloom.errors import ConfigError
from lightloom.schema import LIGHTCURVE

CONFIG = SCHEMAS.parent
Config = dict[str, Any]
ARCHIVES = (
    *("fermigbm", "gaia", "hcv", "icecube", "k2", "kepler", "neowise", "nsc", "panstarrs"),
    *("rubin", "saxgrbm", "tess", "unwise", "xmm", "ztf"),
)


def _read(name: str) -> Config:
    document: Config = yaml.safe_load((CONFIG / name).read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="module")
def shipped() -> Config:
    return _read("archives.yaml") | _read("config.yaml")


@pytest.fixture
def config(shipped: Config) -> Config:
    return copy.deepcopy(shipped)


def _minimal(config: Config) -> Config:
    source = {"kind": "table", "path": "x.csv", "ra": "ra", "dec": "dec"}
    return {
        "sample": {"sources": [source]},
        "archives": {"ztf": {"enabled": True}},
        "catalogue": config["catalogue"],
    }


def _lines(config: Config) -> list[str]:
    """Return the lines of the error, without the count."""
    with pytest.raises(ConfigError) as caught:
        load_run(config)
    head, *lines = str(caught.value).split("\n  ")
    plural = "s" if len(lines) > 1 else ""
    assert head == f"{len(lines)} problem{plural} in the configuration:"
    return lines


def test_shipped_configuration(config: Config) -> None:
    run = load_run(config)
    assert run.results == Path("results")
    assert run.enabled == ARCHIVES
    assert list(run.archives) == sorted(config["catalogue"])
    (source,) = run.sample.sources
    assert (source.path, source.id, source.unit, source.frame) == (
        "config/samples/yang2018.csv",
        "name",
        None,
        "icrs",
    )
    assert run.archives["ztf"].module_name == "lightloom.archives.ztf"


def test_loading_leaves_the_configuration_alone(config: Config) -> None:
    config = _minimal(config)
    before = copy.deepcopy(config)
    load_run(config)
    assert config == before


def test_defaults_are_those_of_the_schema(config: Config) -> None:
    run = load_run(_minimal(config))
    assert (run.results, run.allow_partial) == (Path("results"), False)
    assert (run.sample.merge_radius_arcsec, run.sample.on_bad_row) == (1.0, "stop")
    assert run.shards.max_targets == 500
    assert (run.dask.cluster, run.dask.address) == ("local", None)
    assert run.report.lightcurves == 6
    assert run.enabled == ("ztf",)


@pytest.mark.parametrize("kind", sorted(SOURCES.keys() - {"inbox"}))
def test_source_has_the_defaults_of_the_schema(kind: str) -> None:
    keys = load_schema("config.schema.yaml")["$defs"][kind]["properties"]
    fields = dataclasses.fields(SOURCES[kind])
    assert {field.name for field in fields} == set(keys)
    for field in fields:
        if field.default is not dataclasses.MISSING:
            assert field.default == keys[field.name].get("default")


def test_shipped_config_shows_the_defaults(config: Config) -> None:
    def without_choices(run: Run) -> Run:
        return dataclasses.replace(
            run,
            archives={},
            enabled=(),
            sample=dataclasses.replace(run.sample, sources=()),
            moving=None,
        )

    assert without_choices(load_run(config)) == without_choices(load_run(_minimal(config)))


@pytest.mark.parametrize("overlay", ["live.yaml", "sky/embedded.yaml"])
def test_overlays_only_replace_where_archives_lie(config: Config, overlay: str) -> None:
    places = {"endpoint", "detections", "storage_options", "copies"}
    places |= {"requires", "auth", "footprint"}
    run = load_run(config)
    options = _read(overlay)["archives"]
    for name, replaced in options.items():
        assert set(replaced) <= places | {"options"}
        assert set(replaced.get("detections", {})) <= {"endpoint"}
        assert set(replaced.get("options", {})) <= {"probe"}
        config["archives"][name].update(copy.deepcopy(replaced))
    changed = load_run(config)
    for name, replaced in options.items():
        before = run.archives[name]
        if "detections" in replaced:
            assert before.detections is not None
            replaced["detections"] = before.detections | replaced["detections"]
        if "options" in replaced:
            module = load_schema(f"modules/{before.module}.schema.yaml")
            replaced["options"] = before.options | replaced["options"]
        if "copies" in replaced:
            replaced["copies"] = merge_copies(before.copies, replaced["copies"])
        if "options" in replaced:
            assert not find_problems(replaced["options"], module)
        assert changed.archives[name] == dataclasses.replace(before, **replaced)


def test_the_real_archives_are_those_of_the_catalogue(config: Config) -> None:
    catalogue = load_run(config).archives
    # As the Snakefile and its option --configfile merge them.
    for overlay in ("sky/embedded.yaml", "live.yaml"):
        update_config(config, _read(overlay))
    run = load_run(config)
    assert run.archives == catalogue
    assert run.services == ()


def test_options_replace_those_of_the_catalogue(config: Config) -> None:
    before = load_run(config).archives["ztf"]
    config["archives"]["ztf"] |= {
        "enabled": False,
        "radius_arcsec": 2,
        "storage_options": {"key": "value"},
        "limits": {"threads": 7},
        "views": {"bright": [["native_value", "<", 15.5]]},
    }
    run = load_run(config)
    assert run.enabled == tuple(name for name in ARCHIVES if name != "ztf")
    spec = run.archives["ztf"]
    assert spec.radius_arcsec == 2
    assert spec.storage_options == {"key": "value"}
    assert spec.limits == before.limits | {"threads": 7}
    assert spec.views == before.views | {"bright": [["native_value", "<", 15.5]]}


def test_archive_without_options_is_in_the_catalogue_but_not_searched(config: Config) -> None:
    del config["archives"]["unwise"]
    run = load_run(config)
    assert run.enabled == tuple(name for name in ARCHIVES if name != "unwise")
    assert "unwise" in run.archives


def test_specs_travel_as_json(config: Config) -> None:
    run = load_run(config)
    for spec in run.archives.values():
        text = json.dumps(spec.as_dict())
        assert ArchiveSpec.from_dict(json.loads(text)) == spec
    text = json.dumps(run.sample.as_dict())
    assert SampleConfig.from_dict(json.loads(text)) == run.sample


def test_settings_are_what_a_fetch_depends_on(config: Config) -> None:
    spec = load_run(config).archives["ztf"]
    assert set(spec.settings()) == set(SETTINGS)
    unrelated = dataclasses.replace(
        spec, storage_options={"a": 1}, title="x", views={}, limits={}, citation={}, name="y"
    )
    assert unrelated.settings() == spec.settings()
    for name in SETTINGS:
        assert dataclasses.replace(spec, **{name: {"b": 2}}).settings() != spec.settings()


def test_module_without_options_takes_none(config: Config) -> None:
    config["archives"]["ztf"]["options"] = {"speed": 1}
    assert _lines(config) == [
        "archives.ztf.options.speed: unknown key, the module ztf has no options"
    ]
    config["catalogue"]["ztf"]["module"] = "mypackage.myarchive"
    assert load_run(config).archives["ztf"].options == {"speed": 1}


def test_options_of_a_module_get_the_defaults_of_its_schema(config: Config) -> None:
    given = {"table": "xmmssc", "probe": {"ra": 1, "dec": 2}}
    config["catalogue"]["xmm"]["options"] = copy.deepcopy(given)
    config["archives"]["xmm"]["options"] = {"upload": False}
    spec = load_run(config).archives["xmm"]
    properties = load_schema("modules/tap_lightcurve.schema.yaml")["properties"]
    defaults = {key: value["default"] for key, value in properties.items() if "default" in value}
    assert len(defaults) > 5
    given["probe"]["expect_rows"] = 1
    assert spec.options == defaults | given | {"upload": False}
    # What is found depends on them, and so does the key of the archive's parts.
    assert spec.settings()["options"] == spec.options


def test_single_options_of_the_user_replace_those_of_the_catalogue(config: Config) -> None:
    before = load_run(config).archives["tess"].options
    config["archives"]["tess"]["options"] = {"bin_s": 1800}
    assert load_run(config).archives["tess"].options == before | {"bin_s": 1800}


def test_service_needs_no_columns(config: Config) -> None:
    entry = config["catalogue"]["ztf"]
    for key in ("columns", "bands", "units", "time"):
        del entry[key]
    assert _lines(config) == [
        f"catalogue.ztf.{key}: missing, found only the keys: {', '.join(entry)}"
        for key in ("bands", "columns", "time", "units")
    ]
    entry["layout"] = "service"
    spec = load_run(config).archives["ztf"]
    assert spec.catalogues(spec.place) == []


def test_order_of_keys_does_not_matter(config: Config) -> None:
    def backwards(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: backwards(value[key]) for key in reversed(value)}
        return value

    spec, turned = (load_run(c).archives["unwise"] for c in (config, backwards(config)))
    assert repr(turned.settings()) == repr(spec.settings())
    assert repr(turned.as_dict()) == repr(spec.as_dict())


def test_module_may_lie_outside_the_package(config: Config) -> None:
    config["catalogue"]["ztf"]["module"] = "mypackage.myarchive"
    assert load_run(config).archives["ztf"].module_name == "mypackage.myarchive"


def _edit(*path: str | int, value: Any) -> Callable[[Config], None]:
    def edit(config: Any) -> None:
        for key in path[:-1]:
            config = config[key]
        config[path[-1]] = value

    return edit


def _remove(*path: str | int) -> Callable[[Config], None]:
    def edit(config: Any) -> None:
        for key in path[:-1]:
            config = config[key]
        del config[path[-1]]

    return edit


def _rename(name: str, new: str) -> Callable[[Config], None]:
    def edit(config: Config) -> None:
        config["catalogue"][new] = config["catalogue"][name]

    return edit


SOURCE = ("sample", "sources", 0)
ZTF = ("catalogue", "ztf")
KEYS = (
    "access, access_region, allow_partial, archives, catalogue, dask, moving, plan, publish,"
    " replay, replies, report, resolvers, results, sample, services, shards"
)
SOURCE_KEYS = (
    "cone, dec, format, frame, id, kind, label, label_column, max_targets, moc, parallax, path,"
    " pmdec, pmra, ra, ref_epoch, storage_options, unit"
)
TAP_OPTIONS = (
    "adql, counted, exposures, expressions, match_margin_arcsec, maxrec, measurements, probe,"
    " quote, table, units, upload, where"
)
IN_A_FILE = "(write it without quotes, in a file: values nested in --config arrive as text)"

#: What is done to the shipped configuration, and all lines of the error.
WRONG: list[tuple[Any, ...]] = [
    (
        _edit("shard", value={}),
        f"shard: unknown key, did you mean 'shards'? (expected: {KEYS})",
    ),
    (
        _edit("zzz", value=1),
        f"zzz: unknown key (expected: {KEYS})",
    ),
    (
        _edit("shards", "maxtargets", value=10),
        "shards.maxtargets: unknown key, did you mean 'max_targets'? (expected: max_targets)",
    ),
    (
        _edit(*SOURCE, "RA", value="x"),
        f"sample.sources[0].RA: unknown key, did you mean 'ra'? (expected: {SOURCE_KEYS})",
    ),
    (
        _edit("archives", "zft", value={"enabled": True}),
        "archives.zft: unknown archive, did you mean 'ztf'?"
        f" (expected: {', '.join(ARCHIVES)})",
    ),
    (
        _edit("archives", "ztf", "query_version", value=2),
        "archives.ztf.query_version: unknown key (expected: access, auth, chance_offset_arcsec,"
        " copies, detections,"
        " enabled, endpoint, epoch_jyear, footprint, limits, options, radius_arcsec, release,"
        " requires,"
        " storage_options, views)",
    ),
    (
        _remove("sample"),
        "sample: missing, found only the keys: "
        "catalogue, results, shards, archives, moving, allow_partial, publish, dask, report, plan",
    ),
    (
        _remove(*SOURCE, "dec"),
        "sample.sources[0].dec: missing, found only the keys: kind, path, label, id, ra",
    ),
    (
        _edit("sample", "sources", value=[]),
        "sample.sources: found a list of 0, expected a list of at least 1",
    ),
    (
        _edit("sample", "sources", value="targets.csv"),
        "sample.sources: found 'targets.csv', expected a list of at least 1",
    ),
    (
        _edit(*SOURCE, "kind", value="fits"),
        "sample.sources[0].kind: found 'fits', expected one of table, literature, sdss_quasars,"
        " tap, names, ztf_ids, inbox",
    ),
    (
        _edit(*SOURCE, value={"kind": "sdss_quasars", "number": 0, "z_min": 2, "z_max": 1}),
        "sample.sources[0].number: found 0, expected a whole number at least 1 and at most"
        " 10000000",
    ),
    (
        _edit(*SOURCE, value={"kind": "sdss_quasars", "number": 5, "z_min": 2, "z_max": 1}),
        "sample.sources[0].z_max: found 1, expected more than z_min, 2",
    ),
    (
        _edit(*SOURCE, value={"kind": "names"}),
        "sample.sources[0].entries: found neither of entries and path, expected one of them",
    ),
    (
        _edit(*SOURCE, value={"kind": "ztf_ids", "path": "x", "entries": ["ZTF18aaaaaaa"]}),
        "sample.sources[0].entries: found both of entries and path, expected one of them",
    ),
    (
        _edit(*SOURCE, value={"kind": "names", "entries": ["M 31", "M 33\nM 32", " M 5"]}),
        "sample.sources[0].entries[1]: found 'M 33\\nM 32', expected text without surrounding space"
        " or line breaks",
        "sample.sources[0].entries[2]: found ' M 5', expected text without surrounding space"
        " or line breaks",
    ),
    (
        _edit(*SOURCE, value={"kind": "names", "entries": ["M 31", "M 31"]}),
        "sample.sources[0].entries[1]: found 'M 31', also at [0], expected it once",
    ),
    (
        _edit(*SOURCE, value={"kind": "literature", "name": "x", "catalogue": "J/ApJ/1/1"}),
        "sample.sources[0].catalogue: found, expected service: vizier beside it",
    ),
    (
        _edit(*SOURCE, value={"kind": "literature", "name": "x", "where": [["a", "~", "("]]}),
        "sample.sources[0].where[0][2]: found '(', expected a regular expression, as the operator"
        " is ~",
    ),
    (
        _edit(*SOURCE, value={"kind": "tap", "endpoint": "https://me:you@x/tap", "adql": "q"}),
        "sample.sources[0].endpoint: found a user or password in the address, expected them in the"
        " environment",
    ),
    (
        _edit(*SOURCE, value={"kind": "tap", "endpoint": "x/tap", "adql": "q", "pmra": "a"}),
        "sample.sources[0].endpoint: found 'x/tap', expected text such as"
        " 'https://simbad.cds.unistra.fr/simbad/sim-tap'",
    ),
    (
        _edit("resolvers", value={"nde": "https://x", "ned": 3}),
        "resolvers.nde: unknown key, did you mean 'ned'? (expected: alerce, limits, ned, sdss,"
        " sesame, simbad, vizier)",
        "resolvers.ned: found 3, expected text such as"
        " 'https://simbad.cds.unistra.fr/simbad/sim-tap' (write it in quotes)",
    ),
    (
        _edit(*SOURCE, "frame", value="b1950"),
        "sample.sources[0].frame: found 'b1950', expected one of icrs, fk5, galactic",
    ),
    (
        _edit(*SOURCE, "ra", value=3),
        "sample.sources[0].ra: found 3, expected text (write it in quotes)",
    ),
    (
        _edit(*SOURCE, "id", value=None),
        "sample.sources[0].id: found nothing, expected text",
    ),
    (
        _edit(*SOURCE, "pmra", value="pm"),
        "sample.sources[0].pmdec: missing, expected both pmra and pmdec, found only pmra",
        "sample.sources[0].ref_epoch: missing, expected the epoch of positions with proper motions",
    ),
    (
        _edit(*SOURCE, "ref_epoch", value=57388.0),
        "sample.sources[0].ref_epoch: found 57388.0, expected text or a number at least 1800 and"
        " at most 2200",
    ),
    (
        _edit("results", value=None),
        "results: found nothing, expected text such as 'results'",
    ),
    (
        _edit("archives", "nsc", "endpoint", value="https://me:secret@example.org/tap"),
        "archives.nsc.endpoint: found a password in an address, expected it in the environment or"
        " in a file of the store's own",
    ),
    (
        _edit("archives", "ztf", "storage_options", value={"key": "a", "secret": "s"}),
        "archives.ztf.storage_options.secret: found a secret, expected it in the environment or in"
        " a file of the store's own",
    ),
    (
        _edit("results", value="of/{shard}"),
        "results: found 'of/{shard}', expected text such as 'results'",
    ),
    (
        _edit("allow_partial", value="true"),
        "allow_partial: found 'true', expected true or false"
        " (on the command line write --config allow_partial=True)",
    ),
    (
        _edit("archives", "ztf", "enabled", value="true"),
        f"archives.ztf.enabled: found 'true', expected true or false {IN_A_FILE}",
    ),
    (
        _edit("archives", "ztf", value=True),
        "archives.ztf: found true, expected a mapping",
    ),
    (
        _edit("archives", "ztf", "radius_arcsec", value=0),
        "archives.ztf.radius_arcsec: found 0, expected a number above 0 and at most 3600",
    ),
    (
        _edit("archives", "ztf", "radius_arcsec", value=4000.5),
        "archives.ztf.radius_arcsec: found 4000.5, expected a number above 0 and at most 3600",
    ),
    (
        _edit("archives", "ztf", "radius_arcsec", value=float("nan")),
        "archives.ztf.radius_arcsec: found nan, expected a number above 0 and at most 3600",
    ),
    (
        _edit("archives", "ztf", "radius_arcsec", value="1.5"),
        "archives.ztf.radius_arcsec: found '1.5', expected a number above 0 and at most 3600 "
        + IN_A_FILE,
    ),
    (
        _edit("archives", "ztf", "radius_arcsec", value="1.5 arcsec"),
        "archives.ztf.radius_arcsec:"
        " found '1.5 arcsec', expected a number above 0 and at most 3600",
    ),
    (
        _edit("archives", "ztf", "radius_arcsec", value="[1"),
        "archives.ztf.radius_arcsec: found '[1', expected a number above 0 and at most 3600",
    ),
    (
        _edit("archives", value={"ztf": {"enabled": False}, "unwise": {}}),
        "archives: found none with enabled: true, expected at least one",
    ),
    (
        _edit("shards", "max_targets", value=500.5),
        "shards.max_targets: found 500.5, expected a whole number at least 1 and at most 1000000",
    ),
    (
        _edit("shards", "max_targets", value=True),
        "shards.max_targets: found true, expected a whole number at least 1 and at most 1000000",
    ),
    (
        _edit("sample", "on_bad_row", value="ignore"),
        "sample.on_bad_row: found 'ignore', expected one of stop, skip",
    ),
    (
        _edit("sample", "merge_radius_arcsec", value=-1),
        "sample.merge_radius_arcsec: found -1, expected a number at least 0 and at most 60",
    ),
    (
        _edit("dask", value={"cluster": "address"}),
        "dask.address: missing, expected it because dask.cluster is address",
    ),
    (
        _edit("dask", value={"scheduler_file": "s.json", "gateway": {}}),
        "dask.cluster: missing, expected it to choose between scheduler_file, gateway",
    ),
    (
        _edit("dask", value={"cluster": "auto"}),
        "dask.cluster: found 'auto', expected one of local, threads, address, scheduler_file,"
        " gateway, jobqueue, plugin",
    ),
    (
        _edit("dask", value={"gateway": {"adress": "http://hub"}}),
        "dask.gateway.adress: unknown key, did you mean 'address'? (expected: adapt, address,"
        " auth, name, options, proxy_address, scale)",
    ),
    (
        _edit("dask", value={"gateway": {"address": "http://me:secret@hub"}}),
        "dask.gateway.address: found 'http://***@hub', expected text such as"
        " 'https://hub.example.org/services/dask-gateway'",
    ),
    (
        _edit("dask", value={"gateway": {"auth": {"type": "basic"}}}),
        "dask.gateway.auth.secret_env: missing, expected it or secret_file because"
        " dask.gateway.auth.type is basic",
    ),
    (
        _edit("dask", value={"jobqueue": {"system": "slurm", "adapt": {"maximum": 0}}}),
        "dask.jobqueue.adapt.maximum: found 0, expected a whole number at least 1",
    ),
    (
        _edit("dask", value={"jobqueue": {"system": "pbs", "adapt": {"minimum": 3, "maximum": 2}}}),
        "dask.jobqueue.adapt.minimum: found 3, expected at most maximum, 2",
    ),
    (
        _edit("dask", value={"jobqueue": {"system": "sge"}}),
        "dask.jobqueue.system: found 'sge', expected one of slurm, pbs, lsf, htcondor",
    ),
    (
        _edit("dask", value={"plugin": {"function": "coiled.Cluster"}}),
        "dask.plugin.function: found 'coiled.Cluster', expected text such as 'coiled:Cluster'",
    ),
    (
        _edit("dask", value={"cluster": "address", "address": "192.0.2.10"}),
        "dask.address: found '192.0.2.10', expected text such as 'tcp://192.0.2.10:8786'",
    ),
    (
        _edit("report", "lightcurves", value=[]),
        "report.lightcurves: found a list of 0, expected a whole number at least 0 and"
        " at most 1000",
    ),
    (
        _remove("catalogue"),
        "catalogue: missing, found only the keys:"
        " results, sample, shards, archives, moving, allow_partial, publish, dask, report, plan",
    ),
    (
        _rename("ztf", "Gaia-DR3"),
        "catalogue.Gaia-DR3: found the name 'Gaia-DR3', expected text such as 'ztf' or 'gaia_dr3'",
    ),
    (
        _remove(*ZTF, "columns", "time"),
        "catalogue.ztf.columns.time: missing, found only the keys:"
        " ra, dec, object_id, band, value, error, flags, field, extra",
    ),
    (
        _edit(*ZTF, "bands", value={1: {"name": "g"}}),
        "catalogue.ztf.bands[1]: found the name 1, expected text (write it in quotes)",
    ),
    (
        _edit(*ZTF, "units", "native", value="magnitude"),
        "catalogue.ztf.units.native: found 'magnitude', expected one of mag, Jy, mJy, uJy, nJy,"
        " nMgy, Vega nMgy, electron/s, relative, erg/cm2/s, GeV, none",
    ),
    (
        _edit(*ZTF, "units", "mag_system", value="none"),
        "catalogue.ztf.units.mag_system:"
        " found 'none', expected AB or Vega because units.native is mag",
    ),
    (
        _edit(*ZTF, "time", "scale", value="UTC"),
        "catalogue.ztf.time.scale: found 'UTC', expected one of utc, tai, tdb, tcb",
    ),
    (
        _edit(*ZTF, "time", "ref", value="sun"),
        "catalogue.ztf.time.ref: found 'sun', expected one of"
        " topocentre, geocentre, heliocentre, barycentre",
    ),
    (
        _edit(*ZTF, "release", value=24),
        "catalogue.ztf.release: found 24, expected text (write it in quotes)",
    ),
    (
        _edit(*ZTF, "layout", value="hive"),
        "catalogue.ztf.columns.partition: missing, expected it because layout is hive",
    ),
    (
        _edit(*ZTF, "quality", "bad", value=[["catflags", "=", 1]]),
        "catalogue.ztf.quality.bad[0][1]: found '=', expected one of ==, !=, <, <=, >, >=, &, ~,"
        " !~",
    ),
    (
        _edit(*ZTF, "quality", "bad", value=[["catflags", "&"]]),
        "catalogue.ztf.quality.bad[0]: found a list of 2, expected a list of 3",
    ),
    (
        _edit(*ZTF, "quality", "suspect", value=[["catflags", "&", 1.5]]),
        "catalogue.ztf.quality.suspect[0][2]:"
        " found 1.5, expected the bits as a whole number, as the operator is &",
    ),
    (
        _edit(*ZTF, "quality", "bad", value=[["catflag", "!=", 0]]),
        "catalogue.ztf.quality.bad[0][0]: found 'catflag', did you mean 'catflags'? expected a"
        " column kept here: catflags, clrcoeff, fieldid, filterid, hmjd, mag, magerr, objectid,"
        " rcid",
    ),
    (
        _edit(*ZTF, "citation", "bibcode", value="Masci 2019"),
        "catalogue.ztf.citation.bibcode: found 'Masci 2019', expected text of 19 characters",
    ),
    (
        _edit(*ZTF, "limits", "mem_mb", value=10),
        "catalogue.ztf.limits.mem_mb: found 10, expected a whole number at least 100",
    ),
    (
        _edit("archives", "ztf", "views", value={"bright": [["mag", "<", 15]]}),
        "archives.ztf.views.bright[0][0]:"
        " found 'mag', expected one of " + ", ".join(LIGHTCURVE.names),
    ),
    (
        _edit("archives", "ztf", "views", value={"flagged": [["flags_native", "&", "1"]]}),
        "archives.ztf.views.flagged[0][2]:"
        " found '1', expected the bits as a whole number, as the operator is &",
    ),
    (
        _remove("catalogue", "unwise", "bands", "1", "ab_minus_vega_mag"),
        "catalogue.unwise.bands.1.ab_minus_vega_mag:"
        " missing, expected it because units.native is Vega nMgy and units.mag_system is Vega",
    ),
    (
        _edit(*ZTF, "bands", "1", value={"name": "g", "ab_zero_point_mag": 25.0}),
        "catalogue.ztf.bands.1.ab_zero_point_mag:"
        " found 25.0, expected none because units.native is mag and units.mag_system is AB",
    ),
    (
        _edit(*ZTF, "bands", "1", value={"name": "g", "columns": {"value": "gmag"}}),
        "catalogue.ztf.bands.1.columns:"
        " found, expected none because columns.band names the band of a row",
    ),
    (
        _edit(*ZTF, "columns", "value_over_error", value="lightcurve.snr"),
        "catalogue.ztf.columns.value_over_error: found, expected none because error is given",
    ),
    (
        _remove(*ZTF, "columns", "error"),
        "catalogue.ztf.columns.error: missing, expected error or value_over_error",
    ),
    (
        _edit(*ZTF, "columns", "extra", value=["object.catflags"]),
        "catalogue.ztf.columns:"
        " found 'catflags' as the name of 2 columns, expected different last parts",
    ),
    (
        _edit(*ZTF, "quality", "bad", value=[["rcid", "!~", "["]]),
        "catalogue.ztf.quality.bad[0][2]:"
        " found '[', expected a regular expression, as the operator is !~",
    ),
    (
        _edit(*ZTF, "missing", value=["-999"]),
        "catalogue.ztf.missing[0]:"
        f" found '-999', expected a number {IN_A_FILE}",
    ),
    (
        _edit(*ZTF, "subsets", value=["north"]),
        "catalogue.ztf.endpoint:"
        " found 's3://ipac-irsa-ztf/ztf/enhanced/dr24/lc/hats/ztf_dr24_lc-hats',"
        " expected {subset} in it, as subsets are given",
    ),
    (
        _remove("catalogue", "neowise", "subsets"),
        "catalogue.neowise.endpoint:"
        " found 's3://nasa-irsa-wise/wise/neowiser/catalogs/p1bs_psd/healpix_k5/{subset}/"
        "neowiser-healpix_k5-{subset}.parquet', expected no {subset}, as no subsets are given",
    ),
    (
        _edit("archives", "neowise", "endpoint", value="sky/neowise"),
        "archives.neowise.endpoint:"
        " found 'sky/neowise', expected {subset} in it, as subsets are given",
    ),
    (
        _remove("catalogue", "gaia", "bands", "BP", "columns", "value"),
        "catalogue.gaia.bands.BP.columns.value:"
        " missing, found only the keys: ra, dec, object_id, extra, field, time,"
        " value_over_error, flags",
    ),
    (
        _remove("catalogue", "gaia", "bands", "RP", "ab_zero_point_mag"),
        "catalogue.gaia.bands.RP.ab_zero_point_mag:"
        " missing, expected it because units.native is electron/s and units.mag_system is AB",
    ),
    (
        _edit("catalogue", "panstarrs", "detections", "layout", value="hive"),
        "catalogue.panstarrs.detections.columns.partition:"
        " missing, expected it because layout is hive",
    ),
    (
        _edit("archives", "nsc", "options", value={"tabel": "nsc_dr2.object"}),
        f"archives.nsc.options.tabel: unknown key, did you mean 'table'? (expected: {TAP_OPTIONS})",
    ),
    (
        _edit("archives", "hcv", "options", value={"probe": {"ra": 0, "dec": 0, "radius_deg": 2}}),
        "archives.hcv.options.probe.radius_deg: found 2, expected a number above 0 and at most 0.5",
    ),
    (
        _edit("archives", "tess", "options", value={"choice": [{"author": "SPOC"}]}),
        "archives.tess.options.choice[0].file: missing, found only the keys: author",
    ),
    (
        _edit("archives", "k2", "options", value={"bin_s": 0}),
        "archives.k2.options.bin_s: found 0, expected a number above 0 or null",
    ),
    (
        _edit("catalogue", "fermigbm", "options", "error_radius", "unit", value="rad"),
        "catalogue.fermigbm.options.error_radius.unit:"
        " found 'rad', expected one of deg, arcmin, arcsec",
    ),
    (
        _remove("catalogue", "icecube", "options", "probe"),
        "catalogue.icecube.options.probe: missing, found only the keys: table, band, error_radius,"
        " whole_table, units",
    ),
    (
        # What only the module can tell.
        _edit("catalogue", "nsc", "options", "expressions", value={"mjd_mid": "exposure.mjd"}),
        "catalogue.nsc.options.expressions.mjd_mid:"
        " found 'exposure.mjd' with the table 'exposure', expected expo or meas",
    ),
    (
        _edit("archives", "gaia", "detections", value={"endpoint": "sky/detection"}),
        "archives.gaia.detections:"
        " found, expected none: the archive has no catalogue of detections",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("edit", "lines"),
    [(edit, lines) for edit, *lines in WRONG],
    ids=[lines[0].split(":")[0] for _, *lines in WRONG],
)
def test_wrong_configuration(
    config: Config, edit: Callable[[Config], None], lines: list[str]
) -> None:
    edit(config)
    assert _lines(config) == lines


def test_all_problems_are_listed_at_once(config: Config) -> None:
    config["archives"]["zft"] = {}
    config["archives"]["ztf"]["radius_arcsec"] = -1
    config["sample"]["sources"].append({"kind": "table", "path": "y.csv", "ra": "ra"})
    config["dask"] = {"cluster": "address"}
    config["catalogue"]["unwise"]["time"]["ref"] = "sun"
    assert [line.split(": ")[0] for line in _lines(config)] == [
        "archives.zft",
        "archives.ztf.radius_arcsec",
        "catalogue.unwise.time.ref",
        "dask.address",
        "sample.sources[1].dec",
    ]


@pytest.mark.parametrize(
    ("section", "cluster"),
    [
        ({}, "local"),
        ({"gateway": {}}, "gateway"),
        ({"scheduler_file": "scheduler.json"}, "scheduler_file"),
        # What one file describes, another one may leave aside.
        ({"cluster": "threads", "address": "tcp://192.0.2.10:8786"}, "threads"),
        ({"cluster": "gateway", "gateway": {}, "jobqueue": {"system": "lsf"}}, "gateway"),
    ],
)
def test_the_cluster_is_the_one_described(config: Config, section: Config, cluster: str) -> None:
    config["dask"] = section
    assert load_run(config).dask.cluster == cluster


def test_paths_for_workers_in_another_folder(config: Config) -> None:
    config["catalogue"]["ztf"] |= {"endpoint": "sky/ztf", "auth": {"token_file": "t"}}
    config["catalogue"]["unwise"] |= {"endpoint": "s3://bucket/unwise", "auth": {}}
    archives = load_run(config).archives
    located = archives["ztf"].located(Path("/run"))
    assert (located.endpoint, located.auth["token_file"]) == ("/run/sky/ztf", "/run/t")
    assert archives["unwise"].located(Path("/run")) == archives["unwise"]
    # Results do not tell on which machine they were made.
    ztf = archives["ztf"]
    for place in (ztf.place, located.place):
        assert ztf.as_configured([str(place)], Path("/run")) == {"archive (sky/ztf)"}


def test_schema_knows_the_columns_of_light_curves() -> None:
    definitions = load_schema("archives.schema.yaml")["$defs"]
    assert definitions["light_curve_column"]["enum"] == LIGHTCURVE.names


def test_schema_knows_the_operators() -> None:
    definitions = load_schema("archives.schema.yaml")["$defs"]
    assert set(definitions["operator"]["enum"]) == set(OPERATORS)


def test_manual_is_up_to_date() -> None:
    text = MANUAL.read_text(encoding="utf-8")
    assert update_manual(text) == text
    assert text.count("| `catalogue.<name>.") > 30
    for schema in sorted((SCHEMAS / "modules").glob("*.schema.yaml")):
        module = schema.name.removesuffix(".schema.yaml")
        assert f"\n<!-- keys of module {module} -->\n| key |" in text


def test_loading_imports_nothing_heavy(shipped: Config) -> None:
    script = (
        "import json, sys; from lightloom.config import load_run;"
        " load_run(json.load(sys.stdin));"
        " print(*{'numpy', 'pandas', 'pyarrow', 'astropy', 'dask'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(shipped),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""
