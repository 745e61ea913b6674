"""What a REST call can come to, and bounded waiting.

alpaca-py has no timeout, and retries POST by itself on 429 and 504. Here every socket has a timeout, the SDK's own retry is off,
and a failure is sorted by the one question that matters: may the broker have acted on it?
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import requests
import structlog
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

from alphatrade_pipelines.market.sources.secrecy import mask_answers

if TYPE_CHECKING:
    from alpaca.common.rest import RESTClient

log = structlog.get_logger(__name__)
Answer = TypeVar("Answer")
# the request reached Alpaca's front door and was turned away there
TURNED_AWAY = frozenset({408, 429})


class BrokerUnavailableError(ConnectionError):
    """A read failed although it was retried. It says nothing about what the broker holds."""


class BrokerRefusedError(BrokerUnavailableError):
    """The broker answered a read with a refusal (unknown order, wrong keys, forbidden)."""

    def __init__(self, what: str, failure: Failure) -> None:
        super().__init__(f"{what}: the broker refused with HTTP {failure.status} (code {failure.code}): {failure.message}")
        self.failure = failure


class ThrottledError(requests.ConnectionError):
    """Held back by our own rate limit, so never sent. ``wait_s``: when to come again."""

    def __init__(self, lane: str, wait_s: float) -> None:
        super().__init__(f"held back by our own rate limit ({lane} lane), free in {wait_s:.1f} s")
        self.wait_s = wait_s


class Reach(StrEnum):
    """How far a failed request got."""

    NEVER_SENT = "never_sent"
    ANSWERED = "answered"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed request: how far it got, and whatever the broker said. ``retry_after_s``: how long it asked us to wait, if it did."""

    reach: Reach
    status: int | None
    code: int | None
    message: str
    retry_after_s: float | None = None

    @property
    def is_duplicate_id(self) -> bool:
        """True for Alpaca's answer to a client order id it already has: the order IS there."""
        return self.status == 422 and self.code == 40010001 and "client_order_id" in self.message

    @property
    def is_absent(self) -> bool:
        return self.reach is Reach.ANSWERED and self.status == 404


class TimeoutAdapter(HTTPAdapter):
    """An HTTPAdapter that never waits for ever: ``timeout`` = (connect, read) seconds for calls that name none."""

    def __init__(self, timeout: tuple[float, float], **options: Any) -> None:
        self._timeout = timeout
        super().__init__(**options)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        if options.get("timeout") is None:
            options["timeout"] = self._timeout
        return super().send(request, **options)


AdapterFactory = Callable[[tuple[float, float]], HTTPAdapter]


def harden(client: RESTClient, timeout: tuple[float, float], trust_env: bool, adapter: AdapterFactory = TimeoutAdapter) -> None:
    """Bound every wait of an SDK client, turn off its hidden retry (the SDK offers no public way to do either), and keep its keys out of
    what it is answered.

    ``adapter`` makes what carries the requests, given (connect, read) seconds; a simulation carries them without a socket.
    """
    client._retry = 0
    client._session.trust_env = trust_env
    for prefix in ("https://", "http://"):
        client._session.mount(prefix, adapter(timeout))
    mask_answers(client)


def failure_of(error: Exception) -> Failure:
    """Sort an exception of the SDK or of requests. Anything not provably refused or unsent is UNKNOWN."""
    from alpaca.common.exceptions import APIError

    if isinstance(error, APIError):
        headers = getattr(error.response, "headers", None) or {}
        return _failure_of_answer(error.status_code, str(error), retry_after(headers) if error.status_code == 429 else None)
    if isinstance(error, ThrottledError):
        return Failure(Reach.NEVER_SENT, None, None, str(error), error.wait_s)
    if isinstance(error, requests.ConnectTimeout) or _never_connected(error):
        return Failure(Reach.NEVER_SENT, None, None, f"not sent: {type(error).__name__}")
    return Failure(Reach.UNKNOWN, None, None, f"no answer: {type(error).__name__}")


def _failure_of_answer(status: int | None, body: str, retry_after_s: float | None) -> Failure:
    code, message = _read_error(body)
    provable = status is not None and 400 <= status < 500
    return Failure(Reach.ANSWERED if provable else Reach.UNKNOWN, status, code, message, retry_after_s)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until the rate limit resets: ``Retry-After``, else ``X-RateLimit-Reset`` (epoch) against the answer's own ``Date``."""
    try:
        if "Retry-After" in headers:
            return max(0.0, float(headers["Retry-After"]))
        reset = float(headers["X-RateLimit-Reset"])
        sent = parsedate_to_datetime(headers["Date"]).timestamp() if "Date" in headers else time.time()
    except (KeyError, ValueError, TypeError):
        return None
    return max(0.0, reset - sent)


def _read_error(body: str) -> tuple[int | None, str]:
    """Code and text of an error body; HTML pages and missing keys are normal there. Keys beside the message are kept: 403 needs them."""
    try:
        content = json.loads(body)
    except ValueError:
        return None, " ".join(body.split())[:200]
    if not isinstance(content, dict):
        return None, str(content)[:200]
    code = content.get("code")
    extra = {key: value for key, value in content.items() if key not in ("code", "message")}
    message = str(content.get("message", ""))
    return code if isinstance(code, int) else None, f"{message} {json.dumps(extra, sort_keys=True)}" if extra else message


def _never_connected(error: Exception) -> bool:
    """requests wraps both a refused connection and a lost answer in ConnectionError; only the former was never sent.

    A TLS or proxy failure is not counted: it can also strike while the answer is read.
    """
    cause = error.args[0] if isinstance(error, requests.ConnectionError) and error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)


def read(
    call: Callable[[], Answer], what: str, attempts: int = 4, first_wait: float = 0.25, sleep: Callable[[float], None] = time.sleep
) -> Answer:
    """A GET, retried while the broker is away or busy: 429, 5xx, timeouts. Any other 4xx is an answer. ``sleep`` waits in between.

    Raises: BrokerRefusedError for such an answer; BrokerUnavailableError after the last attempt.
    """
    from alpaca.common.exceptions import APIError

    wait = first_wait
    for attempt in range(1, attempts + 1):
        try:
            return call()
        except (APIError, requests.RequestException, ValueError) as error:
            failure = failure_of(error)
            if failure.reach is Reach.ANSWERED and failure.status not in TURNED_AWAY:
                raise BrokerRefusedError(what, failure) from error
            if attempt == attempts:
                raise BrokerUnavailableError(f"{what}: no answer after {attempts} attempts, last: {failure.message}") from error
            log.warning("broker read failed, retrying", what=what, attempt=attempt, status=failure.status, reason=failure.message)
            sleep(wait)
            wait *= 2
    raise AssertionError("unreachable: the last attempt returns or raises")
