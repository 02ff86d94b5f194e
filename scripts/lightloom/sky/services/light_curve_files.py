"""FITS light curves as the pipelines of TESS, Kepler and K2 write them."""

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from lightloom.sky.services.light_curves import LightCurve
from lightloom.sky.services.missions import TESS

_FORMATS = {"float64": "D", "float32": "E", "int32": "J"}
_DISPLAY = {"D": "D14.7", "E": "E14.7", "J": "I10"}
# Origin and creator of the files of other pipelines than the missions' own.
_FOREIGN = {"QLP": ("MIT/QLP", "QLP"), "TASOC": ("TASOC/Aarhus", "TASOC photometry")}
_BIT_COLUMNS = ("QUALITY", "SAP_QUALITY")


def write_light_curve(path: Path, curve: LightCurve) -> None:
    """Write a light-curve file; the same content gives the same bytes.

    Parameters
    ----------
    path : pathlib.Path
        Where; folders are made.
    curve : LightCurve
        What it holds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    hdus = fits.HDUList([_primary(curve), _light_curve(curve), _aperture(curve)])
    hdus.writeto(path)


def _identity(curve: LightCurve) -> list[tuple[str, Any, str]]:
    """Return the cards that name the target, which every extension has."""
    id_key = "TICID" if curve.mission is TESS else "KEPLERID"
    return [
        ("TELESCOP", "TESS" if curve.mission is TESS else "Kepler", "telescope"),
        (
            "INSTRUME",
            "TESS Photometer" if curve.mission is TESS else "Kepler Photometer",
            "detector type",
        ),
        ("OBJECT", curve.target_name, "string version of target id"),
        (id_key, curve.target_id, "unique target identifier"),
        ("RADESYS", "ICRS", "reference frame of celestial coordinates"),
        ("RA_OBJ", curve.ra_deg, "[deg] right ascension"),
        ("DEC_OBJ", curve.dec_deg, "[deg] declination"),
        ("EQUINOX", 2000.0, "equinox of celestial coordinate system"),
    ]


def _primary(curve: LightCurve) -> fits.PrimaryHDU:
    header = fits.PrimaryHDU().header
    header["EXTNAME"] = "PRIMARY"
    header["EXTVER"] = 1
    header["SIMDATA"] = (True, "file is based on simulated data")
    creators = {
        "TESS": "LightCurveExporterPipelineModule",
        "Kepler": "FluxExporter2PipelineModule",
        "K2": "FluxExporter2PipelineModule",
    }
    origin, creator = _FOREIGN.get(
        curve.author, ("NASA/Ames", f"305 {creators[curve.mission.name]}")
    )
    header["ORIGIN"], header["CREATOR"] = origin, creator
    header["TIMVERSN"] = ("OGIP/93-003", "OGIP memo number for file format")
    header.extend(_identity(curve))
    header[curve.mission.sequence_key] = curve.sequence
    if curve.mission is TESS:
        header["CAMERA"] = (curve.target_id % 4 + 1, "camera number")
        header["CCD"] = (curve.target_id // 4 % 4 + 1, "CCD chip number")
        header["TESSMAG"] = (curve.mag, "[mag] TESS magnitude")
    else:
        header["CHANNEL"] = (curve.target_id % 84 + 1, "CCD channel")
        is_short = curve.cadence_s < 1000
        header["OBSMODE"] = "short cadence" if is_short else "long cadence"
        header["MISSION"] = curve.mission.name
        header["KEPMAG"] = (curve.mag, "[mag] Kepler magnitude (Kp)")
    return fits.PrimaryHDU(header=header)


def _light_curve(curve: LightCurve) -> fits.BinTableHDU:
    columns = []
    for name, values in curve.columns.items():
        form = _FORMATS[values.dtype.name]
        display = "B16.16" if name in _BIT_COLUMNS else _DISPLAY[form]
        columns.append(fits.Column(name, form, unit=_unit(name, curve), disp=display, array=values))
    table = fits.BinTableHDU.from_columns(columns, name="LIGHTCURVE", ver=1)
    table.header.extend(_identity(curve))
    time_d = curve.columns["TIME"]
    start_d, stop_d = float(np.nanmin(time_d)), float(np.nanmax(time_d))
    cadence_d = curve.true_cadence_s / 86400.0
    for key, value, comment in (
        ("EXPOSURE", 0.792 * time_d.size * cadence_d, "[d] time on source"),
        ("TIMEREF", "SOLARSYSTEM", "barycentric correction applied to times"),
        ("TASSIGN", "SPACECRAFT", "where time is assigned"),
        ("TIMESYS", "TDB", "time system is Barycentric Dynamical Time (TDB)"),
        ("BJDREFI", curve.zero_jd[0], "integer part of the reference date"),
        ("BJDREFF", curve.zero_jd[1], "fraction of the day in the reference date"),
        ("TIMEUNIT", "d", "time unit for TIME, TSTART and TSTOP"),
        ("TELAPSE", stop_d - start_d + cadence_d, "[d] TSTOP - TSTART"),
        ("TSTART", start_d - cadence_d / 2.0, "observation start time"),
        ("TSTOP", stop_d + cadence_d / 2.0, "observation stop time"),
        ("TIMEDEL", cadence_d, "[d] time resolution of data"),
        ("TIMEPIXR", 0.5, "bin time beginning=0 middle=0.5 end=1"),
    ):
        table.header[key] = (value, comment)
    if curve.author not in _FOREIGN:
        table.header["CROWDSAP"] = (
            round(0.75 + curve.target_id % 25 / 100.0, 4),
            "Ratio of target flux to total flux in op. ap.",
        )
        table.header["FLFRCSAP"] = (0.84, "Frac. of target flux w/in the op. aperture")
    return table


def _unit(column: str, curve: LightCurve) -> str | None:
    """Return the unit of a column as the pipelines write it."""
    if column == "TIME":
        return f"BJD - {curve.zero_jd[0]}"
    if column == "TIMECORR":
        return "d"
    if "CENTR" in column or "POS" in column:
        return "pixel"
    if "CORR" in column:
        return "ppm"
    return curve.unit if "FLUX" in column or "BKG" in column else None


def _aperture(curve: LightCurve) -> fits.ImageHDU:
    # Bit 1: collected; bit 2: in the optimal aperture.
    pixels = np.ones((5, 5), np.int32)
    pixels[1:4, 1:4] = 3
    image = fits.ImageHDU(pixels, name="APERTURE")
    image.header.extend(_identity(curve))
    return image
