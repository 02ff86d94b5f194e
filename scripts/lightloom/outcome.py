"""How the search of a shard ended, target by target."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightloom.errors import ArchiveError, TransientArchiveError, TruncatedAnswerError
from lightloom.schema import FINAL_STATES

_PASSING = TransientArchiveError.error_class


@dataclass
class Outcome:
    """How the search ended for each target of a shard (arrays of shape (n_targets,))."""

    state: NDArray[np.object_]
    n_rows: NDArray[np.int64]
    n_sources: NDArray[np.int64]
    match_arcsec: NDArray[np.float64]
    n_offsets: NDArray[np.int64]
    n_offset_matches: NDArray[np.int64]
    error_class: NDArray[np.object_]
    message: NDArray[np.object_]

    @classmethod
    def pending(cls, n_targets: int) -> "Outcome":
        """Return the outcome before anything was asked."""
        return cls(
            state=np.full(n_targets, None, dtype=object),
            n_rows=np.zeros(n_targets, np.int64),
            n_sources=np.zeros(n_targets, np.int64),
            match_arcsec=np.full(n_targets, np.nan),
            n_offsets=np.zeros(n_targets, np.int64),
            n_offset_matches=np.zeros(n_targets, np.int64),
            error_class=np.full(n_targets, None, dtype=object),
            message=np.full(n_targets, None, dtype=object),
        )

    def to_json(self) -> dict[str, list[Any]]:
        """Return the columns as lists, with None for a missing distance."""
        columns = {name: values.tolist() for name, values in vars(self).items()}
        columns["match_arcsec"] = [
            None if np.isnan(value) else value for value in columns["match_arcsec"]
        ]
        return columns

    @property
    def unfinished(self) -> NDArray[np.bool_]:
        """Targets about which the archive has to be asked (again)."""
        return np.array([state not in FINAL_STATES for state in self.state], dtype=bool)

    @property
    def lasting_failures(self) -> dict[str, list[Any]]:
        """Targets whose search failed for a reason that does not pass, and the reason."""
        is_lasting = (self.state == "failed") & (self.error_class != _PASSING)
        targets = np.flatnonzero(is_lasting)
        return {
            "targets": targets.tolist(),
            "error_class": self.error_class[targets].tolist(),
            "message": self.message[targets].tolist(),
        }

    def repeat_failures(self, failures: Mapping[str, list[Any]]) -> None:
        """Record again what `lasting_failures` has told of an earlier attempt."""
        targets = failures["targets"]
        self.state[targets] = "failed"
        self.error_class[targets] = failures["error_class"]
        self.message[targets] = failures["message"]

    def take_over(self, targets: NDArray[np.int64], finished: Mapping[str, list[Any]]) -> None:
        """Record what earlier parts tell of finished targets, all but the number of rows."""
        for name, values in finished.items():
            column = getattr(self, name)
            column[targets] = np.array(values, column.dtype)

    def fail(self, targets: NDArray[np.int64], error: ArchiveError) -> None:
        """Record a failed request; of several failures the first one stays."""
        state = "truncated" if isinstance(error, TruncatedAnswerError) else "failed"
        self._end(targets, state, error)

    def cut_short(self, target: int, error: ArchiveError) -> None:
        """Record that some rows of a target could not be had."""
        self._end(np.array([target]), "truncated", error)

    def _end(self, targets: NDArray[np.int64], state: str, error: ArchiveError) -> None:
        for target in targets[is_open(self.state[targets])]:
            self.state[target] = state
            self.error_class[target] = error.error_class
            self.message[target] = str(error)


def is_open(state: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Tell which of some states are not known yet."""
    return np.array([one is None for one in state], dtype=bool)
