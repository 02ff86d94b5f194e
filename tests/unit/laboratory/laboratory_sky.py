"""A sky of a few rows for each service of the laboratory."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits

from lightloom.sky.moving.alerts import AlertNumbers
from lightloom.sky.moving.build import write_moving

#: Demanded by the services `rubin` and `kowalski`.
TOKEN = "correct-horse"
N_TRIGGERS = 400
N_EXPOSURES = 30
TIC, KIC = 100000003, 11442793
TESS_URI = f"mast:TESS/product/tess2019198215352-s0014-{TIC:016d}-0150-s_lc.fits"
KEPLER_URI = f"mast:KEPLER/url/missions/kepler/lightcurves/kplr{KIC:09d}_llc.fits"
#: Where the observations are. [deg]
STARS = {str(TIC): (120.0, 30.0), f"kplr{KIC:09d}": (290.0, 45.0)}
N_CADENCES = 200


def write_small_sky(folder: Path, n_points: int = 10) -> None:
    """Write ``<folder>/services``, with a number of measurements in HCV."""
    rng = np.random.default_rng(20180318)
    services = folder / "services"
    _write_heasarc(services / "heasarc", rng)
    _write_nsc(services / "nsc", rng)
    _write_rubin(services / "rubin")
    _write_hcv(services / "hcv", n_points)
    _write_mast(services / "mast", rng)
    write_moving(folder / "moving", services, 7, AlertNumbers(per_body=12, background=300))


def random_positions(rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw positions uniformly on the sphere [deg]."""
    return rng.uniform(0, 360, number), np.degrees(np.arcsin(rng.uniform(-1, 1, number)))


def _write(path: Path, units: dict[str, str], **columns: object) -> None:
    arrays = {name: pa.array(values) for name, values in columns.items()}
    fields = [
        pa.field(
            name,
            array.type,
            metadata={"unit": units.get(name, ""), "ucd": "", "description": f"{name} & <more>"},
        )
        for name, array in arrays.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(list(arrays.values()), schema=pa.schema(fields)), path)


def _write_heasarc(folder: Path, rng: np.random.Generator) -> None:
    ra_deg, dec_deg = random_positions(rng, N_TRIGGERS)
    units = {"ra": "deg", "dec": "deg", "error_radius": "deg", "time": "d"}
    _write(
        folder / "fermigtrig.parquet",
        units,
        trigger_name=[f"bn{number:06d}" for number in range(N_TRIGGERS)],
        ra=ra_deg,
        dec=dec_deg,
        error_radius=rng.uniform(0.1, 20, N_TRIGGERS),
        time=rng.uniform(54_000, 60_000, N_TRIGGERS),
        # One in seven without, and one name that XML and CSV must quote.
        reliability=[None if n % 7 == 0 else n / 7 for n in range(N_TRIGGERS)],
        trigger_type=['GRB <"a", b>' if n == 0 else "GRB" for n in range(N_TRIGGERS)],
    )


def _write_nsc(folder: Path, rng: np.random.Generator) -> None:
    objects = [f"{number}_1" for number in range(10)]
    _write(
        folder / "nsc_dr2.object.parquet",
        {"ra": "deg", "dec": "deg", "pmra": "mas/yr"},
        id=objects,
        ra=np.arange(10.0) * 36,
        dec=np.arange(10.0) * 8 - 40,
        pmra=np.zeros(10),
        ndet=np.full(10, N_EXPOSURES, dtype=np.int32),
    )
    _write(
        folder / "nsc_dr2.meas.parquet",
        {"mjd": "d", "mag_auto": "mag"},
        measid=[f"{o}.{e}" for o in objects for e in range(N_EXPOSURES)],
        objectid=[o for o in objects for _ in range(N_EXPOSURES)],
        exposure=[f"c4d_{e}" for _ in objects for e in range(N_EXPOSURES)],
        ccdnum=np.full(10 * N_EXPOSURES, 7, dtype=np.int16),
        filter=["gri"[e % 3] for _ in objects for e in range(N_EXPOSURES)],
        mjd=np.tile(57_000.0 + np.arange(N_EXPOSURES), 10),
        mag_auto=rng.normal(20, 0.1, 10 * N_EXPOSURES).astype(np.float32),
    )
    _write(
        folder / "nsc_dr2.exposure.parquet",
        {"exptime": "s"},
        exposure=[f"c4d_{e}" for e in range(N_EXPOSURES - 1)],
        exptime=np.full(N_EXPOSURES - 1, 90.0),
    )


def _write_rubin(folder: Path) -> None:
    _write(
        folder / "dp1.Object.parquet",
        {"coord_ra": "deg", "coord_dec": "deg"},
        objectId=np.arange(5) + 609_788_942_606_161_356,
        coord_ra=[53.0, 53.1, 53.2, 53.3, 53.4],
        coord_dec=[-28.0] * 5,
        detect_isPrimary=[True, True, False, None, True],
    )


def _write_hcv(folder: Path, n_points: int) -> None:
    _write(
        folder / "hcvsummary.parquet",
        {"RA": "deg", "Dec": "deg"},
        MatchID=[1, 1, 2, 3],
        RA=[10.0, 10.0, 10.0001, 40.0],
        Dec=[5.0, 5.0, 5.0, -60.0],
        Filter=["ACS_F606W", "ACS_F814W", "ACS_F814W", "WFC3_F160W"],
        MeanCorrMag=[20.0, 19.0, None, 24.5],
    )
    _write(
        folder / "hcv.parquet",
        {"MJD": "d", "CorrMag": "mag"},
        MatchID=([1] * 6 + [2] * 4)[:n_points],
        Filter=(["ACS_F606W"] * 3 + ["ACS_F814W"] * 7)[:n_points],
        MJD=52_000.5 + np.arange(n_points),
        CorrMag=np.linspace(19, 20, n_points),
    )


def _write_mast(folder: Path, rng: np.random.Generator) -> None:
    missions = {"TESS": (14, 120.0, "SPOC"), "Kepler": (None, 1800.0, "Kepler")}
    names, rows = list(STARS), list(missions.items())
    _write(
        folder / "observations.parquet",
        {"s_ra": "deg", "s_dec": "deg", "t_exptime": "s"},
        obsid=[60_000_000, 60_000_001],
        obs_collection=[name for name, _ in rows],
        project=[name for name, _ in rows],
        provenance_name=[author for _, (_, _, author) in rows],
        dataproduct_type=["timeseries", "timeseries"],
        target_name=names,
        obs_id=[Path(TESS_URI).stem.removesuffix("_lc"), f"kplr{KIC:09d}_lc_Q1"],
        s_ra=[STARS[name][0] for name in names],
        s_dec=[STARS[name][1] for name in names],
        t_min=[58_682.0, 54_964.0],
        t_max=[58_710.0, 54_998.0],
        t_exptime=[seconds for _, (_, seconds, _) in rows],
        sequence_number=pa.array([number for _, (number, _, _) in rows], pa.int32()),
    )
    uris = [TESS_URI, KEPLER_URI]
    # The Kepler file has no copy in the cloud.
    paths = ["stpubdata/tess/public/tid/s0014/lc.fits", "files/kepler_llc.fits"]
    _write_fits(folder / paths[0], rng, telescope="TESS", object_name=f"TIC {TIC}")
    _write_fits(folder / paths[1], rng, telescope="Kepler", object_name=f"KIC {KIC}")
    _write(
        folder / "products.parquet",
        {"size": "byte"},
        obsID=[60_000_000, 60_000_001],
        obs_collection=["TESS", "Kepler"],
        obs_id=[Path(TESS_URI).stem.removesuffix("_lc"), f"kplr{KIC:09d}_lc_Q1"],
        dataURI=uris,
        productFilename=[Path(uri).name for uri in uris],
        productSubGroupDescription=["LC", "LLC"],
        productType=["SCIENCE", "SCIENCE"],
        description=["Light curves", "Lightcurve Long Cadence (CLC) - Q1"],
        project=["SPOC", "Kepler"],
        size=[(folder / path).stat().st_size for path in paths],
        cloud_key=["tess/public/tid/s0014/lc.fits", None],
        file=paths,
    )


def _write_fits(path: Path, rng: np.random.Generator, *, telescope: str, object_name: str) -> None:
    """Write a light curve with what lightkurve looks at."""
    flux = rng.normal(1000, 1, N_CADENCES).astype(np.float32)
    names = {"TIME": "D", "CADENCENO": "J", "SAP_FLUX": "E", "PDCSAP_FLUX": "E"}
    quality = "QUALITY" if telescope == "TESS" else "SAP_QUALITY"
    names |= {"SAP_FLUX_ERR": "E", "PDCSAP_FLUX_ERR": "E", quality: "J"}
    names |= {"TIMECORR": "E", "SAP_BKG": "E", "SAP_BKG_ERR": "E"}
    names |= {"MOM_CENTR1": "D", "MOM_CENTR2": "D"}
    values = {"TIME": 1700 + np.arange(N_CADENCES) / 720, "CADENCENO": np.arange(N_CADENCES)}
    units = {"TIME": "BJD - 2457000, days", "MOM_CENTR1": "pixel", "MOM_CENTR2": "pixel"}
    columns = [
        fits.Column(
            name,
            kind,
            unit=units.get(name, "e-/s" if "FLUX" in name or "BKG" in name else None),
            array=values.get(name, flux if "FLUX" in name else np.zeros(N_CADENCES)),
        )
        for name, kind in names.items()
    ]
    table = fits.BinTableHDU.from_columns(columns, name="LIGHTCURVE")
    table.header.update(BJDREFI=2457000, BJDREFF=0.0, TIMESYS="TDB", TELESCOP=telescope)
    primary = fits.PrimaryHDU()
    primary.header.update(TELESCOP=telescope, OBJECT=object_name, ORIGIN="NASA/Ames")
    primary.header.update(CREATOR="LightCurveExporterPipelineModule", RA_OBJ=120.0, DEC_OBJ=30.0)
    if telescope == "TESS":
        primary.header.update(TICID=TIC, SECTOR=14)
    else:
        primary.header.update(KEPLERID=KIC, QUARTER=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([primary, table]).writeto(path)
