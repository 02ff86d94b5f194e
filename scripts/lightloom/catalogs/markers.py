"""The file that tells that a local catalogue is complete; free of heavy imports."""

from pathlib import Path

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
