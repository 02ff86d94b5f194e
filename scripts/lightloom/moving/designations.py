"""Names of comets and asteroids, as people and lists write them, and what to ask for."""

import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from lightloom.errors import ConfigError

#: Numbered comets and interstellar objects, with or without a fragment and a name:
#: 1P/Halley, 332P-A, 73P/Schwassmann-Wachmann 3-BT, 2I/Borisov.
_NUMBERED = re.compile(r"^(\d{1,4}[PDIX])(?:-([A-Z]{1,2}))?(?:/(.*?))?$")
#: Fragment at the end of a name, such as ``Ikeya-Murakami-A``.
_FRAGMENT = re.compile(r"-([A-Z]{1,2})$")
#: Comets and interstellar objects by year: C/2020 F3 (NEOWISE), P/2016 J1-A, A/2017 U1.
_PROVISIONAL_COMET = re.compile(r"^([PCDXAI]/-?\d{1,4} [A-Z]{1,2}\d{0,3}(?:-[A-Z]{1,2})?)\b")
_NUMBERED_ASTEROID = re.compile(r"^\(?(\d{1,7})\)?(?: .*)?$")
_PROVISIONAL_ASTEROID = re.compile(r"^(\d{4} [A-Z]{2}\d{0,3}|\d{4} (?:P-L|T-[123]))$")

#: Columns of lists that may hold the designation, the best first.
_COLUMNS = ("designation", "pdes", "full_name", "name", "object", "desig")


@dataclass(frozen=True)
class Query:
    """What to ask Horizons for.

    Attributes
    ----------
    id : str
    id_type : str
        As astroquery has it: ``designation``, ``smallbody`` or ``comet_name``.
    is_comet : bool
        Whether closest apparition and no fragments are asked for.
    is_fragment : bool
    """

    id: str
    id_type: str
    is_comet: bool = False
    is_fragment: bool = False

    @property
    def is_numbered(self) -> bool:
        """Whether the object has a number."""
        return self.id.isdigit() or bool(re.match(r"^\d+[PDIX]", self.id))


def parse(name: str) -> Query:
    """Tell what a name stands for; of dual designations (``2I = C/2019 Q4``) the first counts.

    Parameters
    ----------
    name : str

    Returns
    -------
    Query
        What is neither a number nor a designation is asked for as a name.
    """
    text = re.split(r"\s*=\s*", name.strip(), maxsplit=1)[0]
    text = " ".join(text.split())
    if match := _NUMBERED.match(text):
        number, fragment, rest = match.groups()
        if not fragment and rest and (found := _FRAGMENT.search(rest)):
            fragment = found[1]
        designation = f"{number}-{fragment}" if fragment else number
        return Query(designation, "designation", is_comet=True, is_fragment=bool(fragment))
    if match := _PROVISIONAL_COMET.match(text):
        fragment = bool(re.search(r"-[A-Z]{1,2}$", match[1]))
        return Query(match[1], "designation", is_comet=True, is_fragment=fragment)
    if _PROVISIONAL_ASTEROID.match(text):
        return Query(text, "designation")
    if match := _NUMBERED_ASTEROID.match(text):
        return Query(match[1], "smallbody")
    return Query(text, "smallbody")


def objects_of_list(text: str, what: str) -> list[str]:
    """Return the names in a list.

    Parameters
    ----------
    text : str
        JSON as the JPL small-body database answers (``fields`` and ``data``), CSV with a column
        ``designation`` (or ``pdes``, ``full_name``, ``name``, ``object``, ``desig``), or one name
        per line, lines with # left out.
    what : str
        The list, for messages.

    Raises
    ------
    ConfigError
        If there are no names in it.
    """
    if text.lstrip().startswith("{"):
        names = _of_json(text, what)
    else:
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        header = [cell.strip().casefold() for cell in lines[0].split(",")] if lines else []
        column = next((name for name in _COLUMNS if name in header), None)
        if column is None:
            names = [line.strip() for line in lines]
        else:
            rows = csv.reader(io.StringIO("\n".join(lines[1:])))
            names = [row[header.index(column)].strip() for row in rows if row]
    names = [name for name in names if name]
    if not names:
        raise ConfigError(f"{what}: found no names of objects, expected a list of them")
    return list(dict.fromkeys(names))


def _of_json(text: str, what: str) -> list[str]:
    try:
        document = json.loads(text)
        column = next(name for name in _COLUMNS if name in document["fields"])
        place = document["fields"].index(column)
        return [str(row[place]).strip() for row in document["data"]]
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise ConfigError(
            f"{what}: found JSON without fields and data ({error!r}), expected the reply of the"
            " small-body database"
        ) from error


def only_numbered(names: Iterable[str]) -> list[str]:
    """Return those names that stand for numbered objects."""
    return [name for name in names if parse(name).is_numbered]
