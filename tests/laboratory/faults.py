"""The fault script: rules that say which requests fail, and how (syntax: docs/laboratory.md)."""

import hashlib
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol, get_origin

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
    }
)

#: What JSON may give for the fields of a rule, by their type.
KINDS: dict[Any, tuple[type, ...]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
    tuple: (tuple,),
    dict: (dict,),
}
JSON_NAMES = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    tuple: "an array",
    dict: "an object",
    type(None): "null",
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
        Of `votable_error` and `html`.
    rename, retype, units : dict
        Of `wrong_columns`: by column the new name, Arrow type or unit.
    drop : tuple of str
        Of `wrong_columns`: columns to leave out.
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
        for entry in fields(cls):
            kinds = KINDS.get(get_origin(entry.type) or entry.type, (int, float, type(None)))
            if entry.name in values and type(values[entry.name]) not in kinds:
                raise FaultScriptError(f"rule {document}: {entry.name} must be {_names(kinds)}")
        if values["action"] == "job_seconds" and "seconds" not in values:
            raise FaultScriptError(f"rule {document}: job_seconds needs seconds")
        try:
            re.compile(values.get("path", ""))
        except re.error as error:
            raise FaultScriptError(f"rule {document}: path: {error}") from error
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
        if not self.position:
            return False
        ra0_deg, dec0_deg, radius_arcsec = self.position
        return any(
            _separation_deg(ra_deg, dec_deg, ra0_deg, dec0_deg) * 3600 <= radius_arcsec
            for ra_deg, dec_deg in _positions(asked.targets)
        )


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


def _names(kinds: tuple[type, ...]) -> str:
    return " or ".join(JSON_NAMES[kind] for kind in kinds)


def _positions(targets: list[str]) -> list[tuple[float, float]]:
    found = []
    for target in targets:
        parts = target.split()
        if len(parts) == 2:
            try:
                found.append((float(parts[0]), float(parts[1])))
            except ValueError:
                continue
    return found


def _separation_deg(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    ra1, dec1, ra2, dec2 = map(math.radians, (ra1, dec1, ra2, dec2))
    haversine = (
        math.sin((dec1 - dec2) / 2) ** 2
        + math.cos(dec1) * math.cos(dec2) * math.sin((ra1 - ra2) / 2) ** 2
    )
    return math.degrees(2 * math.asin(math.sqrt(min(haversine, 1.0))))
