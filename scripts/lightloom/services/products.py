"""Files of a mission's light curves: which of them to take, and where their bytes come from."""

import json
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from lightloom.access import CLOUD_ACCESS, Copy, choose_copy, published_copies
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
    cloud_access : str
        The archive's record of copies, see `lightloom.access.published_copies`; perhaps empty.
    """

    object_id: str
    author: str
    field: str
    uri: str
    size_bytes: int
    choice: int
    cloud_access: str = ""


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
        cloud_access=_as_text(row.get(CLOUD_ACCESS)),
    )


def _as_text(record: Any) -> str:
    return record if isinstance(record, str) else json.dumps(record) if record else ""


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


class Downloads:
    """Files of an archive, from the place that its ``access`` chooses, else from itself.

    Parameters
    ----------
    session : ServiceSession
        For the archive itself.
    spec : ArchiveSpec
        Its ``endpoint``, its copies and its ``access``.

    Attributes
    ----------
    reads : Reads
        What was read of copies.
    places : set of str
        Places that files were read from.
    """

    def __init__(self, session: ServiceSession, spec: ArchiveSpec) -> None:
        self._session = session
        self._url = f"{spec.endpoint.rstrip('/')}/api/v0.1/Download/file"
        self._spec = spec
        self.reads = Reads()
        self.places: set[str] = set()

    def read(self, product: Product, reader: Callable[[bytes], _T]) -> _T:
        """Read a file; whole, since light curves are nearly all of it.

        Parameters
        ----------
        product : Product
        reader : callable
            Takes the content. If it finds the copy damaged, the original is asked for.

        Raises
        ------
        ArchiveError
            If neither the copy nor the original can be read; a passing reason comes first.
        """
        errors: list[ArchiveError] = []
        for place, content in self._sources(product):
            try:
                found = reader(content())
            except ArchiveError as error:
                _log.info("%s: %s", product.uri, error)
                errors.append(error)
            else:
                self.places.add(place)
                return found
        passing = [error for error in errors if isinstance(error, TransientArchiveError)]
        raise (passing or errors[::-1])[0]

    def _sources(self, product: Product) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield the places that a file is read from, one after the other if need be."""
        own, *copies = self._spec.places
        # A record says where the file is, rules only where it should be.
        files = self._published(product, copies)
        files += [file for copy in copies if (file := copy.file(product.uri))]
        chosen = choose_copy([own, *files], self._spec.access, self._spec.region)
        if chosen is not None and chosen is not own:
            # The same file, wherever the copies lie.
            exchange = Exchange("COPY", product.uri)
            yield (
                str(chosen),
                lambda: self._session.replies.content(exchange, lambda: self._from_copy(chosen)),
            )
        yield str(own), lambda: self._from_archive(product.uri)

    def _published(self, product: Product, copies: list[Copy]) -> list[Copy]:
        try:
            return published_copies(product.cloud_access, copies)
        except ArchiveSchemaError as error:
            # There is the original.
            _log.warning("%s: %s", product.uri, error)
            return []

    def _from_copy(self, copy: Copy) -> bytes:
        content = read_bytes(copy.endpoint, copy.options)
        if content is None:
            raise DamagedFileError(f"{copy.endpoint}: there is no copy")
        self.reads += Reads(requests=1, bytes=len(content))
        return content

    def _from_archive(self, uri: str) -> bytes:
        return self._session.get(self._url, params={"uri": uri}).content
