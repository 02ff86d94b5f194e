"""Footprints: targets whose surroundings an archive has not observed are never asked for."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lightloom.config import ArchiveSpec
from lightloom.errors import ConfigError
from lightloom.motion import positions_at

if TYPE_CHECKING:
    from mocpy import MOC

#: Deepest order of the cells that stand for a search circle: 0.2 arcsec.
_DEEPEST_ORDER = 20


def within_footprint(spec: ArchiveSpec, targets: pa.Table) -> NDArray[np.bool_]:
    """Tell which targets an archive may have observed.

    Parameters
    ----------
    spec : ArchiveSpec
        Its ``footprint``, if it has one, is a MOC as text or the path of a MOC file (FITS or text).
    targets : pyarrow.Table
        In the ``SHARD`` schema.

    Returns
    -------
    ndarray of bool, shape (n_targets,)
        Whether the search circle, with its centre at the archive's epoch, touches the footprint;
        by HEALPix cells, so that a circle within a fraction of its radius of it may count as well.

    Raises
    ------
    ConfigError
        If the footprint is neither a MOC nor a MOC file.
    """
    if not spec.footprint or not targets.num_rows:
        return np.ones(targets.num_rows, bool)
    from astropy import units as u
    from astropy.coordinates import Angle, Latitude, Longitude
    from mocpy import MOC

    footprint = _read_moc(spec)
    ra_deg, dec_deg = positions_at(targets, spec.epoch_jyear, annual_parallax=spec.annual_parallax)
    lon, lat = Longitude(ra_deg, u.deg), Latitude(dec_deg, u.deg)
    within = np.asarray(footprint.contains_lonlat(lon, lat), bool)
    rest = np.flatnonzero(~within)
    radius = Angle(spec.radius_arcsec, u.arcsec)
    order = min(int(MOC.spatial_resolution_to_order(radius / 4)), _DEEPEST_ORDER)
    circles = MOC.from_cones(lon[rest], lat[rest], radius=radius, max_depth=order)
    within[rest] = [not footprint.intersection(circle).empty() for circle in circles]
    return within


def _read_moc(spec: ArchiveSpec) -> "MOC":
    from mocpy import MOC

    path = Path(spec.footprint).expanduser()
    try:
        if path.is_file() and path.read_bytes().startswith(b"SIMPLE"):
            return MOC.load(path, "fits")
        text = path.read_text().strip() if path.is_file() else spec.footprint
        # Commas between cells are of MOC 1, which mocpy no longer reads.
        return MOC.from_string(text.replace(",", " "))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"archives.{spec.name}.footprint: found {spec.footprint!r}, expected a MOC such as"
            f" '4/12-14 5/100' or the path of a MOC file: {error}"
        ) from error
