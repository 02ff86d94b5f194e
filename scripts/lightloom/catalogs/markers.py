"""The file that tells that a local catalogue is complete; free of heavy imports."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightloom.config import ArchiveSpec

#: Properties of a HATS catalogue (the second is the older name) and of a HATS collection.
HATS_PROPERTIES = ("hats.properties", "properties")
COLLECTION_PROPERTIES = "collection.properties"

_HIVE_METADATA = "_metadata"


def marker(endpoint: str, layout: str) -> str:
    """Return the path of the small file that a local catalogue has once it is complete.

    Parameters
    ----------
    endpoint : str
        Root of the catalogue, a local path.
    layout : str
        ``hats`` or ``hive``.

    Returns
    -------
    str
        The file that exists, or else the one that is expected.
    """
    if layout == "hive":
        return f"{endpoint}/{_HIVE_METADATA}"
    paths = [f"{endpoint}/{name}" for name in (*HATS_PROPERTIES, COLLECTION_PROPERTIES)]
    return next((path for path in paths if Path(path).exists()), paths[0])


def local_markers(spec: "ArchiveSpec") -> list[str]:
    """Return the markers of an archive's catalogues on this machine.

    Those of the place that is read are expected. Those of other places are listed if they are
    there, so that the choice of another place alone changes nothing.

    Parameters
    ----------
    spec : ArchiveSpec

    Returns
    -------
    list of str
    """
    markers: list[str] = []
    for place in spec.places:
        local = [marker(*one) for one in spec.catalogues(place) if "://" not in one[0]]
        if place == spec.place or all(Path(path).exists() for path in local):
            markers += local
    return markers
