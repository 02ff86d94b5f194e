"""Named cuts: which rows of an archive to use, as its catalogue entry recommends.

An entry may define any view under ``views``; those that every archive has stand here.
"""

import functools
import json
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightloom.errors import ResultError
from lightloom.suggest import did_you_mean

if TYPE_CHECKING:
    import pyarrow.compute as pc

#: View -> conditions (column, operator, value), all of which hold for its rows.
Views = Mapping[str, Sequence[Sequence[Any]]]

#: Views of every archive whose entry does not define them otherwise.
COMMON_VIEWS: Views = {
    "all": [],
    "clean": [["quality", "==", 0], ["kind", "!=", "event"]],
    "detections": [["quality", "<", 2], ["kind", "==", "detection"]],
    "events": [["quality", "<", 2], ["kind", "==", "event"]],
}

_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def view_expression(view: str, archives: Mapping[str, Views]) -> "pc.Expression | None":
    """Return the condition of a view over the rows of several archives.

    Parameters
    ----------
    view : str
        Name of the view. An archive that does not define it has no rows in it.
    archives : mapping of str to Views
        Views of each archive.

    Returns
    -------
    pyarrow.compute.Expression or None
        None if every row is in the view.

    Raises
    ------
    ResultError
        If no archive defines the view.
    """
    import pyarrow.compute as pc

    known = sorted({name for views in archives.values() for name in views})
    if view not in known:
        raise ResultError(
            f"view is {view!r}, expected one of {', '.join(known)}{did_you_mean(view, known)}"
        )
    alike: dict[str, list[str]] = {}
    for archive, views in archives.items():
        if view in views:
            alike.setdefault(json.dumps(views[view]), []).append(archive)
    if alike.keys() == {"[]"} and len(alike["[]"]) == len(archives):
        return None
    return _any_of(
        _all_of(json.loads(conditions), pc.field("archive").isin(names))
        for conditions, names in alike.items()
    )


def columns_of(view: str, archives: Iterable[Views]) -> set[str]:
    """Return the columns that a view needs, beside that of the archive."""
    return {name for views in archives for name, _, _ in views.get(view, [])}


def _any_of(expressions: Iterable["pc.Expression"]) -> "pc.Expression":
    return functools.reduce(operator.or_, expressions)


def _all_of(conditions: Sequence[Sequence[Any]], first: "pc.Expression") -> "pc.Expression":
    return functools.reduce(operator.and_, (_condition(*each) for each in conditions), first)


def _condition(column: str, symbol: str, value: Any) -> "pc.Expression":
    """Return a condition; a null fulfils none, as everywhere in the catalogue of archives."""
    import pyarrow as pa
    import pyarrow.compute as pc

    field = pc.field(column)
    if symbol == "&":
        return pc.bit_wise_and(field, pa.scalar(value, pa.int64())) != 0
    if symbol == "!~":
        return ~pc.match_substring_regex(field, value)
    return _COMPARISONS[symbol](field, value)
