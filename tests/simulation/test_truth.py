"""The judge itself, and what it must not take for the trader's doing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from alphatrade_pipelines.simulation.story import draw_story
from alphatrade_pipelines.simulation.truth import SLOW, Judge, Look, judge_parents
from alphatrade_pipelines.simulation.world import World
from alphatrade_pipelines.trading.commands import Command
from alphatrade_pipelines.trading.domain import OrderClass, OrderKind, OrderRequest, ParentOrder, Side, TimeInForce
from alphatrade_pipelines.trading.events import Event, OperatorAsked, OrderIntended, ParentOpened, StopAsked
from alphatrade_pipelines.trading.state import CoreState, TradingState

ZERO = Decimal(0)
AT = datetime(2024, 12, 24, 17, 50, tzinfo=UTC)
LEAVE, ENTER = "exit:time|alphatrade|1|CCC|2024-12-24T17:30:00+00:00", "alphatrade|1|CCC|2024-12-24T17:30:00+00:00"


def opened(qty: int, purpose: str = "exit") -> ParentOpened:
    """A parent of two steps."""
    whole = Decimal(qty)
    decision = LEAVE if purpose == "exit" else ENTER
    side = Side.SELL if purpose == "exit" else Side.BUY
    order = ParentOrder(
        "CCC", side, whole, purpose, "twap", decision, AT, 600.0, 300.0, (whole / 2, whole), ZERO, ZERO, ZERO, Decimal(100), "cancel", ""
    )
    return ParentOpened(AT, order)


def sliced(cid: str, qty: int) -> OrderIntended:
    """A slice of an exit."""
    request = OrderRequest(cid, "CCC", Side.SELL, Decimal(qty), OrderKind.LIMIT, OrderClass.SIMPLE, TimeInForce.DAY, Decimal(100))
    return OrderIntended(AT, request, "unwind", LEAVE, 0)


def judged(told: list[ParentOpened | OrderIntended], filled: dict[str, int]) -> list[str]:
    """What the judge says of the journal's ``told`` when the venue has ``filled`` so many shares by client order id."""
    orders = {cid: SimpleNamespace(filled_qty=Decimal(qty)) for cid, qty in filled.items()}
    exchange: Any = SimpleNamespace(book=SimpleNamespace(by_client_id=orders), tape=SimpleNamespace(actions=()))
    judge = Judge()
    judge_parents(judge, cast(Any, exchange), told)
    return [violation.detail for violation in judge.violations]


def test_what_a_close_left_is_worked_by_another_parent_of_the_same_decision() -> None:
    """29 shares to leave, 15 sold until the close, 14 by the next day's parent: each parent is judged by its own slices (seed 265)."""
    told = [opened(29), sliced("u0", 15), opened(14), sliced("v0", 14)]
    assert judged(told, {"u0": 15, "v0": 14}) == []


def test_slices_that_trade_more_than_their_parent_was_for_are_found() -> None:
    """Also when an earlier parent of the decision was larger."""
    told = [opened(29), sliced("u0", 15), opened(14), sliced("v0", 14), sliced("v1", 14)]
    assert judged(told, {"u0": 15, "v0": 14, "v1": 1}) == [f"decision {LEAVE} was for 14 shares, its slices traded 15"]


def test_a_slice_sent_again_under_its_name_is_one_order() -> None:
    """The broker provably lacked it, and got the same order once more (seed 212)."""
    assert judged([opened(20), sliced("u0", 20), sliced("u0", 20)], {"u0": 20}) == []


def test_a_second_parent_of_an_entry_and_a_slice_of_nothing_are_found() -> None:
    """A decision to enter is worked once; a slice belongs to something."""
    assert len(judged([opened(10, "entry"), opened(10, "entry")], {})) == 1
    assert len(judged([sliced("u0", 1)], {})) == 1


def test_who_is_asked_has_just_looked_at_the_clock() -> None:
    """In life a look at the clock is a second old. Asked with a time of 20 minutes ago, cancellations would at once look unanswered."""
    world = World(draw_story(376))
    commanded, ages = world.judge.commanded, []

    def heard(before: TradingState, state: CoreState, event: Event, commands: list[Command]) -> None:
        if isinstance(event, OperatorAsked | StopAsked) and event.at < world.loop.epoch + timedelta(seconds=world.calm + 60.0):
            ages.append((world.loop.now - event.at).total_seconds())
        commanded(before, state, event, commands)

    world.judge.commanded = heard  # type: ignore[method-assign]
    report = world.play()
    assert report.violations == []
    assert len(ages) >= 4
    assert max(ages) < 10.0


def test_exposure_is_forgotten_once_the_account_is_flat() -> None:
    """Seconds of a position that is gone must not be counted against the next one in its symbol (seed 410)."""
    world = World(draw_story(1))
    exchange, judge = world.exchange, world.judge
    while not exchange.market_open:
        exchange.advance()
    exchange.levers.manual_trade("AAA", Decimal(10))
    exchange.tick(exchange.now + timedelta(seconds=8))
    assert set(judge._spells) == {"AAA"}
    exchange.levers.manual_trade("AAA", Decimal(-10))
    exchange.tick(exchange.now + timedelta(seconds=8))
    assert judge._spells == {}


@pytest.mark.parametrize(("why", "counted"), [(SLOW, 3.0), ("requests fail", 5.0)])
def test_a_request_that_stays_unanswered_excuses_from_its_sending_on(why: str, counted: float) -> None:
    """Its first two seconds were seconds of a broker that could not be reached; what came before them counts (seed 740)."""
    paused = [""]
    judge = Judge(look=lambda _: Look(None, paused[0]))
    for second in range(1, 9):
        paused[0] = why if second > 5 else ""
        start = AT + timedelta(seconds=second)
        judge.pass_time(start, start + timedelta(seconds=1), {"CCC": Decimal(5)}, {})
    assert judge._spells["CCC"].seconds == counted
