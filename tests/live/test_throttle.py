"""Our own rate limit: never more than the broker allows in any minute, exits first, the broker's word heeded. On a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import requests

from alphatrade_pipelines.live.throttle import RESERVE, Lane, Throttle, Valve
from alphatrade_pipelines.live.transport import Reach, ThrottledError, failure_of


class Watch:
    """A monotonic clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def bucket(per_minute: int = 180) -> tuple[Throttle, Watch]:
    watch = Watch()
    return Throttle(per_minute, watch.now, watch.sleep), watch


@pytest.mark.parametrize("per_minute", [8, 60, 180])
def test_never_more_than_allowed_in_any_sixty_seconds(per_minute: int) -> None:
    throttle, watch = bucket(per_minute)
    taken: list[float] = []
    for number in range(5 * per_minute):
        try:
            throttle.take(Lane.EXIT if number % 3 else Lane.READ)
            taken.append(watch.at)
        except ThrottledError as error:
            watch.sleep(error.wait_s)
    assert len(taken) > 3 * per_minute
    for first in range(len(taken)):
        assert sum(at < taken[first] + 60.0 for at in taken[first:]) <= per_minute


def test_exits_find_tokens_when_reads_and_entries_have_taken_all_they_may() -> None:
    throttle, _ = bucket()
    granted = {lane: granted_at_once(throttle, lane) for lane in reversed(Lane)}
    assert granted[Lane.READ] == int((1 - RESERVE[Lane.READ]) * throttle.burst)
    assert granted[Lane.ENTRY] == pytest.approx((RESERVE[Lane.READ] - RESERVE[Lane.ENTRY]) * throttle.burst, abs=1)
    assert min(granted.values()) >= 4, "each lane has something the lower ones cannot take"


def test_a_session_that_looks_every_second_stays_below_its_allowance() -> None:
    """The clock every second, a read of six requests every half minute, an entry and an exit now and then: nobody waits."""
    throttle, watch = bucket()
    for second in range(600):
        assert throttle.take(Lane.GLANCE) == 0.0
        if second % 30 == 0:
            assert sum(throttle.take(Lane.READ) for _ in range(6)) == 0.0
        if second % 20 == 0:
            assert throttle.take(Lane.ENTRY) == throttle.take(Lane.EXIT) == 0.0
        watch.sleep(1.0)


def granted_at_once(throttle: Throttle, lane: Lane) -> int:
    count = 0
    while True:
        try:
            throttle.take(lane, patience_s=0.0)
        except ThrottledError:
            return count
        count += 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Date": "Fri, 24 Jul 2026 14:42:00 GMT", "X-RateLimit-Reset": "1784904150"}, 30.0),
        ({"Retry-After": "86400"}, 60.0),
        ({}, 2.0),
    ],
    ids=["retry-after", "reset-against-the-answers-own-date", "no-longer-than-a-window", "unsaid"],
)
def test_after_a_429_nobody_asks_until_it_resets(headers: dict[str, str], seconds: float) -> None:
    throttle, watch = bucket()
    throttle.heed(429, headers)
    with pytest.raises(ThrottledError) as caught:
        throttle.take(Lane.EXIT, patience_s=0.0)
    assert caught.value.wait_s == pytest.approx(seconds)
    failure = failure_of(caught.value)
    assert (failure.reach, failure.retry_after_s) == (Reach.NEVER_SENT, pytest.approx(seconds))
    watch.sleep(caught.value.wait_s)
    assert throttle.take(Lane.EXIT) == 0.0


def test_what_the_broker_counts_is_believed_when_it_is_less() -> None:
    throttle, _ = bucket()
    throttle.heed(200, {"X-RateLimit-Remaining": "3"})
    assert [throttle.take(Lane.EXIT) for _ in range(3)] == [0.0] * 3
    assert throttle.take(Lane.EXIT) > 0.0


def test_a_client_passes_its_valve_and_its_answers_are_heeded() -> None:
    throttle, watch = bucket()
    answers: Iterator[requests.Response] = iter([answer(200), answer(429, {"Retry-After": "5"})])
    client = SimpleNamespace(_session=SimpleNamespace(send=lambda request, **options: next(answers)))
    valve = Valve(client, throttle, Lane.READ)
    for _ in range(2):
        client._session.send(requests.PreparedRequest())
    began, valve.lane = watch.at, Lane.READ
    with pytest.raises(StopIteration):
        client._session.send(requests.PreparedRequest())
    assert watch.at - began == pytest.approx(5.0), "reads wait for the reset"


def answer(status: int, headers: dict[str, str] | None = None) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response.headers.update(headers or {})
    return response
