"""Another attempt after a failure that may pass."""

import logging
from collections.abc import Mapping
from typing import Any

from tenacity import (
    RetryCallState,
    Retrying,
    before_sleep_log,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from lightloom.errors import ArchiveDownError, ArchiveError, TransientArchiveError

#: Factor of the growing random wait between two attempts at a request [s].
_FIRST_WAIT_S = 0.5

_log = logging.getLogger(__name__)


def retrying(limits: Mapping[str, Any]) -> Retrying:
    """Return what tries again after passing failures, as the limits of a service say.

    Parameters
    ----------
    limits : mapping
        Its ``attempts`` and ``longest_wait_s``.

    Returns
    -------
    tenacity.Retrying
        Called with a function and its arguments; raises the last error.
    """
    backoff = wait_random_exponential(multiplier=_FIRST_WAIT_S, max=limits["longest_wait_s"])

    def is_passing(error: BaseException) -> bool:
        is_down = isinstance(error, ArchiveDownError)
        return isinstance(error, TransientArchiveError) and not is_down

    def wait_s(call: RetryCallState) -> float:
        error = call.outcome.exception() if call.outcome else None
        asked_s = error.retry_after_s if isinstance(error, ArchiveError) else None
        return max(backoff(call), min(asked_s or 0.0, limits["longest_wait_s"]))

    return Retrying(
        retry=retry_if_exception(is_passing),
        stop=stop_after_attempt(limits["attempts"]),
        wait=wait_s,
        before_sleep=before_sleep_log(_log, logging.WARNING),
        reraise=True,
    )
