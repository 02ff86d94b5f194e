"""Which small body is meant: designations, names and records, as Horizons looks them up."""

import re
from dataclasses import dataclass

from lightloom.sky.moving.bodies import Body, main_solutions

CAP = re.compile(r"CAP\s*(?:(<=?)\s*(\d{4}))?$")
FIELD = re.compile(r"(DES|NAME|ASTNAM|COMNAM)\s*=\s*(.*)$")
#: Days of MJD before the year 0 and in a year, to know the year of an epoch.
MJD_OF_YEAR_2000, DAYS_PER_YEAR = 51544.0, 365.25


class AmbiguousError(Exception):
    """A name fits several records, or none; the message is Horizons' list of them."""


@dataclass(frozen=True)
class Command:
    """What is looked for.

    Attributes
    ----------
    field : str
        ``DES``, ``NAME``, ``ASTNAM`` (asteroids), ``COMNAM`` (comets), or empty: anything.
    text : str
        In upper case.
    is_small_body : bool
        Whether a semicolon says that no planet is meant.
    closest_apparition : bool
        Whether of a comet with several solutions one is to be taken.
    before_year : float
        It is then one whose epoch is before the end of this year.
    no_fragments : bool
        Whether parts of comets are left out.
    """

    field: str
    text: str
    is_small_body: bool
    closest_apparition: bool = False
    before_year: float = float("inf")
    no_fragments: bool = False

    @classmethod
    def read(cls, value: str) -> "Command":
        """Read the parameter COMMAND."""
        first, *directives = [part.strip().upper() for part in value.strip(" \"'").split(";")]
        found = FIELD.match(first)
        field, text = found.groups() if found else ("", first)
        closest, before, no_fragments = False, float("inf"), False
        for directive in directives:
            if cap := CAP.match(directive):
                closest = True
                if cap[2]:
                    before = int(cap[2]) + (cap[1] == "<=")
            elif directive == "NOFRAG":
                no_fragments = True
            elif directive:
                raise AmbiguousError(f"Cannot interpret directive {directive!r}")
        return cls(field, text.strip(), bool(directives), closest, before, no_fragments)


class SmallBodies:
    """The known records.

    Parameters
    ----------
    bodies : list of Body
        All solutions of all objects.
    """

    def __init__(self, bodies: list[Body]) -> None:
        self._bodies = bodies
        self._main = {body.record for body in main_solutions(bodies)}

    def find(self, value: str) -> Body:
        """Return the one record that a COMMAND means.

        Raises
        ------
        AmbiguousError
            There is none, or more than one.
        """
        command = Command.read(value)
        found = [body for body in self._bodies if _fits(command, body)]
        if command.no_fragments:
            found = [body for body in found if not body.is_fragment]
        if command.closest_apparition:
            # It is a rule for comets: no asteroid passes.
            found = _closest([b for b in found if b.is_comet and _year(b) < command.before_year])
        if len(found) == 1:
            return found[0]
        raise AmbiguousError(_listing(value, found))


def _fits(command: Command, body: Body) -> bool:
    designations = {name.upper() for name in (body.designation, *body.aliases)}
    if command.field == "DES":
        # Parts of a comet have its designation too, unless they are ruled out.
        whole = body.designation.upper().rpartition("-")[0]
        return command.text in designations or (body.is_fragment and command.text == whole)
    if command.field == "ASTNAM" and body.is_comet:
        return False
    if command.field == "COMNAM" and not body.is_comet:
        return False
    if command.field:
        return command.text in (body.name.upper(), body.fullname.upper())
    if command.text == body.record:
        # A number below that of the comets' records could be a planet.
        return command.is_small_body or body.is_comet
    return command.text in (body.name.upper(), body.fullname.upper(), *designations)


def _closest(found: list[Body]) -> list[Body]:
    """Return of each object the latest of the solutions."""
    return main_solutions(found)


def _year(body: Body) -> float:
    return 2000 + (body.epoch_mjd - MJD_OF_YEAR_2000) / DAYS_PER_YEAR


def _listing(value: str, found: list[Body]) -> str:
    stars = "*" * 79
    head = (
        f"{stars}\nJPL/DASTCOM            Small-body Index Search Results\n \n"
        f" Comet AND asteroid index search:\n \n    {value.strip()}\n \n Matching small-bodies: \n"
    )
    if not found:
        return f"{head}No matches found.\n{stars}\n"
    rows = "".join(
        f"    {body.record:<8}  {int(_year(body)):>8}    {body.designation:<15} "
        f"{body.designation:<14}  {body.name}\n"
        for body in found
    )
    return (
        f"{head}\n    Record #  Epoch-yr  >MATCH DESIG<   Primary Desig   Name  \n"
        "    --------  --------  -------------   -------------   -------------------------\n"
        f"{rows}\n ({len(found)} matches. To SELECT, enter record # (integer), followed by "
        f"semi-colon.)\n{stars}\n"
    )
