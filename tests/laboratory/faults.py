"""The fault script: rules that say which requests fail, and how (syntax: docs/laboratory.md)."""

import hashlib
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from types import UnionType
from typing import Any, Protocol, get_origin

import pyarrow as pa

from laboratory.hostile import REPLIES

#: What a rule may do.
ACTIONS = frozenset(
    {
        "timeout",
        "reset",
        "status",
        "slow",
        "cut",
        "votable_error",
        "html",
        "overflow",
        "wrong_columns",
        "missing_target",
        "out_of_service",
        "job_seconds",
        "hostile",
        "absurd_values",
    }
)

#: Those that keep a reply from the client, and may do so when the service has done its work.
HIDING_ACTIONS = frozenset({"timeout", "reset", "status"})
#: What JSON may give for the fields of a rule, by their type, and how to call it.
KINDS: dict[Any, tuple[tuple[type, ...], str]] = {
    str: ((str,), "a string"),
    bool: ((bool,), "true or false"),
    int: ((int,), "an integer"),
    float: ((int, float), "a number"),
    tuple: ((tuple,), "an array"),
    dict: ((dict,), "an object"),
    UnionType: ((int, float, type(None)), "a number or null"),
}


class Asked(Protocol):
    """What a rule needs to know of a request."""

    service: str
    method: str
    path: str
    targets: list[str]

    @property
    def fingerprint(self) -> str:
        """What is asked, the same in every run."""

    def is_near(self, ra_deg: float, dec_deg: float, radius_arcsec: float) -> bool:
        """Whether a position is asked for."""


class FaultScriptError(ValueError):
    """A rule is not written as it must be; the message names the rule and the key."""


@dataclass(frozen=True)
class Rule:
    """One rule: which requests, how often, and what happens to them.

    Attributes
    ----------
    action : str
        One of `ACTIONS`.
    service, path, method : str
        Requests that it applies to: name, regular expression searched in the path behind the
        service's name, HTTP method; empty for all.
    target : tuple of str
        Only requests that mention one of these identifiers; for `missing_target` also the rows.
    position : tuple of float
        Right ascension and declination [deg] and radius [arcsec]; as `target`.
    first, nth, every : int
        Of the requests that it applies to: the first ones, just one (from 1), each k-th.
    probability, seed : float, int
        Share of these requests. The choice depends on the seed and on what is asked, not on the
        order in which requests arrive.
    seconds : float
        Duration of `timeout`, `out_of_service` (infinite by default) and `job_seconds`.
    status, retry_after_s, retry_after_date : int, float, bool
        Reply of `status` and `out_of_service`.
    late : bool
        Let the service do its work before `timeout`, `reset` or `status` hide the reply.
    bytes_per_s : float
        Of `slow`.
    fraction, after_bytes : float, int
        Share of the rows (`overflow`) or of the body (`cut`) that is sent.
    message : str
        Of `status`, `votable_error` (the service's own error document) and `html`.
    rename, retype, units : dict
        Of `wrong_columns`: by column the new name, Arrow type or unit.
    drop : tuple of str
        Of `wrong_columns`: columns to leave out.
    reply : str
        Of `hostile`: which one, of `laboratory.hostile.REPLIES`.
    columns : tuple of str
        Of `absurd_values`: columns whose values are replaced; empty for all.
    """

    action: str
    service: str = ""
    path: str = ""
    method: str = ""
    target: tuple[str, ...] = ()
    position: tuple[float, ...] = ()
    first: int = 0
    nth: int = 0
    every: int = 0
    probability: float = 1.0
    seed: int = 0
    seconds: float = math.inf
    status: int = 503
    retry_after_s: float | None = None
    retry_after_date: bool = False
    late: bool = False
    bytes_per_s: float = 1000.0
    fraction: float = 0.5
    after_bytes: int = -1
    message: str = "The service is being maintained."
    rename: dict[str, str] = field(default_factory=dict)
    retype: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    reply: str = ""
    columns: tuple[str, ...] = ()

    @classmethod
    def read(cls, document: dict[str, Any]) -> "Rule":
        """Build a rule from its JSON object.

        Raises
        ------
        FaultScriptError
            A key or the action is unknown, or the path is not a regular expression.
        """
        known = {entry.name for entry in fields(cls)}
        if unknown := sorted(set(document) - known):
            raise FaultScriptError(
                f"rule {document}: unknown keys {unknown}, known: {sorted(known)}"
            )
        if document.get("action") not in ACTIONS:
            raise FaultScriptError(f"rule {document}: action must be one of {sorted(ACTIONS)}")
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in document.items()
        }
        if isinstance(values.get("target"), str):
            values["target"] = (values["target"],)
        for entry in fields(cls):
            kinds, wanted = KINDS[get_origin(entry.type) or entry.type]
            if entry.name in values and type(values[entry.name]) not in kinds:
                raise FaultScriptError(f"rule {document}: {entry.name} must be {wanted}")
        if values["action"] == "job_seconds" and "seconds" not in values:
            raise FaultScriptError(f"rule {document}: job_seconds needs seconds")
        if values["action"] == "hostile" and values.get("reply") not in REPLIES:
            raise FaultScriptError(f"rule {document}: reply must be one of {sorted(REPLIES)}")
        if values.get("late") and values["action"] not in HIDING_ACTIONS:
            raise FaultScriptError(f"rule {document}: late is for {sorted(HIDING_ACTIONS)}")
        try:
            re.compile(values.get("path", ""))
        except re.error as error:
            raise FaultScriptError(f"rule {document}: path: {error}") from error
        try:
            for name in values.get("retype", {}).values():
                pa.type_for_alias(name)
        except ValueError as error:
            raise FaultScriptError(f"rule {document}: retype: {error}") from error
        return cls(**values)

    def concerns(self, asked: Asked) -> bool:
        """Whether the rule applies to a request, apart from how often."""
        return (
            (not self.service or self.service == asked.service)
            and (not self.method or self.method == asked.method)
            and re.search(self.path, asked.path) is not None
            and self._mentions(asked)
        )

    def _mentions(self, asked: Asked) -> bool:
        if self.action == "missing_target" or not (self.target or self.position):
            # The rows say whether a missing target was in the reply, not the request.
            return True
        if not set(self.target).isdisjoint(asked.targets):
            return True
        return bool(self.position) and asked.is_near(*self.position)


class FaultScript:
    """The rules in force and how often each has been looked at; safe for threads."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._lock = threading.Lock()
        self.replace(rules)

    def replace(self, rules: Sequence[Rule]) -> None:
        """Put other rules in force; all counts start anew."""
        with self._lock:
            self._rules = list(rules)
            self._since = time.monotonic()
            self._asked: Counter[int] = Counter()
            self._applied: Counter[int] = Counter()
            self._repeated: Counter[tuple[int, str]] = Counter()

    def choose(self, asked: Asked) -> Rule | None:
        """Return the first rule that strikes a request, None if there is none."""
        with self._lock:
            chosen = None
            for index, rule in enumerate(self._rules):
                # All rules count, so that one rule does not shift another's n-th request.
                if rule.concerns(asked) and self._strikes(index, rule, asked) and chosen is None:
                    chosen = rule
                    self._applied[index] += 1
            return chosen

    def report(self) -> list[dict[str, Any]]:
        """Return the rules with the number of requests they concerned and struck."""
        with self._lock:
            return [
                {
                    "rule": {k: v for k, v in asdict(rule).items() if v != math.inf},
                    "concerned": self._asked[index],
                    "applied": self._applied[index],
                }
                for index, rule in enumerate(self._rules)
            ]

    def _strikes(self, index: int, rule: Rule, asked: Asked) -> bool:
        self._asked[index] += 1
        number = self._asked[index]
        if rule.action == "out_of_service":
            return time.monotonic() - self._since < rule.seconds
        if (
            (rule.first and number > rule.first)
            or (rule.nth and number != rule.nth)
            or (rule.every and number % rule.every)
        ):
            return False
        if rule.probability >= 1:
            return True
        key = (index, asked.fingerprint)
        self._repeated[key] += 1
        text = f"{rule.seed}\n{self._repeated[key]}\n{asked.fingerprint}"
        digest = hashlib.sha256(text.encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < rule.probability
