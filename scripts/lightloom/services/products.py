"""Files of a mission's light curves: which of them to take, and where their bytes come from."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from lightloom.catalogs.storage import read_bytes
from lightloom.config import ArchiveSpec
from lightloom.errors import (
    ArchiveError,
    ArchiveSchemaError,
    DamagedFileError,
    TransientArchiveError,
)
from lightloom.reads import Reads
from lightloom.services.http import ServiceSession
from lightloom.services.replies import Exchange

_T = TypeVar("_T")

#: Part by which the exposure time of an observation may differ from that of a choice.
_EXPOSURE_TOLERANCE = 0.01

#: Size of a file of which the archive does not say it.
_USUAL_BYTES = 2 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Product:
    """A file with a light curve.

    Attributes
    ----------
    object_id : str
        Whose light curve it is, such as ``TIC 25155310``.
    author : str
    field : str
        Sector, quarter or campaign, such as ``s0014``.
    uri : str
        Its address in the archive, such as ``mast:TESS/product/...``.
    size_bytes : int
        By the archive's account.
    choice : int
        Number of the choice that it fits.
    """

    object_id: str
    author: str
    field: str
    uri: str
    size_bytes: int
    choice: int


def choose_products(
    observations: Iterable[Mapping[str, Any]],
    products: Iterable[Mapping[str, Any]],
    options: Mapping[str, Any],
) -> tuple[list[Product], Counter[str]]:
    """Take the files of one author and cadence for each object and field.

    Parameters
    ----------
    observations, products : iterable of mapping
        Rows of the archive's tables.
    options : mapping
        ``choice`` (what to take, the best first), ``object_id`` and ``field`` (how they are read
        from the rows).

    Returns
    -------
    chosen : list of Product
        By object, field and address. A field may have several files: of Kepler's short cadence,
        one a month.
    left_out : Counter
        Number of files for which there is a better one, by author.
    """
    by_id = {str(row["obsid"]): row for row in observations}
    candidates: dict[tuple[str, str], dict[str, Product]] = defaultdict(dict)
    for row in products:
        observation = by_id.get(str(row["obsID"]))
        if observation is None:
            continue
        choice = _fitting_choice(observation, row, options["choice"])
        if choice is not None:
            product = _product(observation, row, choice, options)
            candidates[product.object_id, product.field][product.uri] = product
    chosen: list[Product] = []
    left_out: Counter[str] = Counter()
    for of_field in candidates.values():
        best = min(product.choice for product in of_field.values())
        for product in of_field.values():
            if product.choice == best:
                chosen.append(product)
            else:
                left_out[product.author] += 1
    chosen.sort(key=lambda product: (product.object_id, product.field, product.uri))
    return chosen, left_out


def _fitting_choice(
    observation: Mapping[str, Any],
    product: Mapping[str, Any],
    choices: Sequence[Mapping[str, Any]],
) -> int | None:
    """Return the number of the first choice that a file fits, or None."""
    for number, choice in enumerate(choices):
        if (
            observation["provenance_name"] == choice["author"]
            and re.search(choice["file"], product["productFilename"])
            and _is_cadence(observation["t_exptime"], choice["exposure_s"])
        ):
            return number
    return None


def _is_cadence(found_s: float | None, expected_s: float | None) -> bool:
    if expected_s is None:
        return True
    return found_s is not None and abs(found_s - expected_s) <= _EXPOSURE_TOLERANCE * expected_s


def _product(
    observation: Mapping[str, Any],
    row: Mapping[str, Any],
    choice: int,
    options: Mapping[str, Any],
) -> Product:
    return Product(
        object_id=object_id_of(observation, options),
        author=observation["provenance_name"],
        field=_numbered({**observation, **row}, options["field"]),
        uri=row["dataURI"],
        size_bytes=int(row["size"] or _USUAL_BYTES),
        choice=choice,
    )


def object_id_of(observation: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Return the id of the object that was observed, such as ``TIC 25155310``."""
    return _numbered(observation, options["object_id"])


def _numbered(row: Mapping[str, Any], rule: Mapping[str, str]) -> str:
    """Return the number in a column of the archive in the form of the results."""
    text = str(row[rule["column"]])
    found = re.search(rule["pattern"], text)
    if found is None:
        raise ArchiveSchemaError(
            f"column {rule['column']!r} is {text!r}, expected it to match {rule['pattern']!r}"
        )
    return rule["name"].format(int(found[1]))


def cloud_address(uri: str, options: Mapping[str, Any]) -> str | None:
    """Return where the copy of a file lies in the cloud, or None if no rule says so.

    Parameters
    ----------
    uri : str
        The file's address in the archive.
    options : mapping
        ``cloud_root`` (empty: there are no copies) and ``cloud_paths``, rules that make a path of
        the ``uri``.
    """
    if not options["cloud_root"]:
        return None
    for rule in options["cloud_paths"]:
        if found := re.search(rule["uri"], uri):
            return f"{options['cloud_root'].rstrip('/')}/{found.expand(rule['path'])}"
    return None


class Downloads:
    """Files of an archive, from the cloud where there is a copy, else from the archive itself.

    Parameters
    ----------
    session : ServiceSession
        For the archive itself.
    spec : ArchiveSpec
        Its ``endpoint``; its ``options`` and ``storage_options`` for the copies.

    Attributes
    ----------
    reads : Reads
        What was read of copies.
    """

    def __init__(self, session: ServiceSession, spec: ArchiveSpec) -> None:
        self._session = session
        self._url = f"{spec.endpoint.rstrip('/')}/api/v0.1/Download/file"
        self._options = spec.options
        self._storage_options = spec.storage_options
        self.reads = Reads()

    def read(self, uri: str, reader: Callable[[bytes], _T]) -> _T:
        """Read a file; whole, since light curves are nearly all of it.

        Parameters
        ----------
        uri : str
            The file's address in the archive.
        reader : callable
            Takes the content. If it finds the copy damaged, the original is asked for.

        Raises
        ------
        ArchiveError
            If neither the copy nor the original can be read; a passing reason comes first.
        """
        errors: list[ArchiveError] = []
        for content in self._sources(uri):
            try:
                return reader(content())
            except ArchiveError as error:
                _log.info("%s: %s", uri, error)
                errors.append(error)
        passing = [error for error in errors if isinstance(error, TransientArchiveError)]
        raise (passing or errors[::-1])[0]

    def _sources(self, uri: str) -> Iterator[Callable[[], bytes]]:
        copy = cloud_address(uri, self._options)
        if copy is not None:
            # The same file, wherever the copies lie.
            exchange = Exchange("COPY", uri)
            yield lambda: self._session.replies.content(exchange, lambda: self._from_cloud(copy))
        yield lambda: self._from_archive(uri)

    def _from_cloud(self, path: str) -> bytes:
        content = read_bytes(path, self._storage_options)
        if content is None:
            raise DamagedFileError(f"{path}: there is no copy in the cloud")
        self.reads += Reads(requests=1, bytes=len(content))
        return content

    def _from_archive(self, uri: str) -> bytes:
        return self._session.get(self._url, params={"uri": uri}).content
