"""An order's life is monotone: whatever the order and number of reports, the end is the same."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphatrade_pipelines.trading.domain import BrokerOrder, OrderClass, OrderKind, OrderRequest, Side, TimeInForce
from alphatrade_pipelines.trading.ids import client_order_id, decision_id, exit_decision, exit_reason
from alphatrade_pipelines.trading.orders import LocalOrder, Phase, is_leg, merged_status, observe, observe_leg

T0 = datetime(2013, 1, 2, 14, 30, tzinfo=UTC)


def local(order_class: OrderClass = OrderClass.BRACKET, qty: int = 10) -> LocalOrder:
    kind = OrderKind.LIMIT if order_class is OrderClass.OCO else OrderKind.MARKET
    request = OrderRequest("cid", "AAPL", Side.BUY, Decimal(qty), kind, order_class, TimeInForce.GTC)
    return LocalOrder(request, "entry", "decision", 0, T0)


def seen(status: str, filled: int = 0, broker_id: str = "b1", legs: tuple[BrokerOrder, ...] = (), **changes: object) -> BrokerOrder:
    values: dict[str, object] = {
        "broker_id": broker_id,
        "client_order_id": "cid",
        "symbol": "AAPL",
        "side": Side.BUY,
        "qty": Decimal(10),
        "filled_qty": Decimal(filled),
        "filled_avg_price": None,
        "kind": "market",
        "order_class": "bracket",
        "time_in_force": "gtc",
        "status": status,
        "legs": legs,
    }
    return BrokerOrder(**(values | changes))  # type: ignore[arg-type]


def leg(broker_id: str, status: str, *, stop: bool, filled: int = 0, qty: int = 10) -> BrokerOrder:
    price = {"stop_price": Decimal(95)} if stop else {"limit_price": Decimal(105)}
    return seen(status, filled, broker_id, client_order_id=f"leg-{broker_id}", side=Side.SELL, qty=Decimal(qty), **price)


LIFE = [("pending_new", 0), ("accepted", 0), ("new", 0), ("partially_filled", 4), ("partially_filled", 7), ("filled", 10)]
CUT_SHORT = [("new", 0), ("partially_filled", 4), ("pending_cancel", 4), ("canceled", 4)]


@given(st.sampled_from([LIFE, CUT_SHORT]), st.data())
def test_any_order_and_repetition_of_reports_ends_the_same(life: list[tuple[str, int]], data: st.DataObject) -> None:
    reports = data.draw(st.permutations(life + data.draw(st.lists(st.sampled_from(life), max_size=4))))
    order = local()
    filled = Decimal(0)
    for status, quantity in reports:
        observe(order, seen(status, quantity), nested=False, at=T0)
        assert order.filled_qty >= filled
        filled = order.filled_qty
    assert order.status == life[-1][0]
    assert order.filled_qty == life[-1][1]


@pytest.mark.parametrize(
    ("known", "filled", "report", "expected"),
    [
        ("", 0, seen("accepted"), "accepted"),
        ("new", 0, seen("pending_new"), "new"),
        ("partially_filled", 5, seen("partially_filled", 3), "partially_filled"),
        ("partially_filled", 5, seen("new", 0), "partially_filled"),
        ("pending_cancel", 0, seen("new", 0), "new"),  # the cancellation was rejected
        ("canceled", 0, seen("new"), "canceled"),
        ("canceled", 4, seen("filled", 10), "filled"),  # the cancellation lost the race
        ("filled", 10, seen("canceled", 0), "filled"),
        ("new", 0, seen("held_for_moon_phase"), "held_for_moon_phase"),
        ("new", 0, seen("held_for_moon_phase", 10), "filled"),  # whatever they call it, nothing is left to fill
    ],
)
def test_which_report_to_believe(known: str, filled: int, report: BrokerOrder, expected: str) -> None:
    assert merged_status(known, Decimal(filled), report) == expected


def test_a_status_nobody_knows_counts_as_live() -> None:
    order = local()
    observe(order, seen("quantum_superposition"), nested=False, at=T0)
    assert order.is_open
    assert order.parent_live


def test_a_bracket_protects_only_once_its_entry_is_complete() -> None:
    legs = (leg("t", "held", stop=False), leg("s", "held", stop=True))
    order = local()
    observe(order, seen("new", 0, legs=legs), nested=True, at=T0)
    assert order.protective_qty == 0
    observe(order, seen("partially_filled", 9), nested=False, at=T0)
    assert order.protective_qty == 0
    observe(order, seen("filled", 10), nested=False, at=T0)
    assert order.protective_qty == 10
    assert order.cancel_target == "t"


def test_legs_of_a_cancelled_entry_never_wake_even_if_nobody_says_so() -> None:
    order = local()
    observe(order, seen("partially_filled", 4, legs=(leg("t", "held", stop=False), leg("s", "held", stop=True))), nested=True, at=T0)
    observe(order, seen("canceled", 4), nested=False, at=T0)
    assert order.protective_qty == 0
    assert not order.is_open


def test_an_oco_counts_once_and_shrinks_with_what_its_target_sold() -> None:
    order = local(OrderClass.OCO)
    observe(order, seen("new", 0, legs=(leg("s", "held", stop=True),), order_class="oco"), nested=True, at=T0)
    assert order.protective_qty == 10
    observe(order, seen("partially_filled", 4, order_class="oco"), nested=False, at=T0)
    assert order.protective_qty == 6
    observe_leg(order, leg("s", "held", stop=True, qty=6), at=T0)  # the broker reduced the stop as well: still six, not two
    assert order.protective_qty == 6
    observe_leg(order, leg("s", "canceled", stop=True, qty=6), at=T0)
    assert order.protective_qty == 0


def test_a_stop_that_comes_back_under_a_new_id_stays_in_its_group() -> None:
    order = local()
    observe(order, seen("filled", 10, legs=(leg("t", "new", stop=False), leg("s", "held", stop=True))), nested=True, at=T0)
    observe_leg(order, leg("s", "replaced", stop=True), at=T0)
    assert order.protective_qty == 0
    observe_leg(order, leg("s2", "new", stop=True), at=T0)
    assert order.protective_qty == 10


def test_a_replaced_entry_is_followed_to_its_new_id() -> None:
    order = local(OrderClass.SIMPLE)
    observe(order, seen("new"), nested=False, at=T0)
    observe(order, seen("new", broker_id="b2", replaces="b1"), nested=False, at=T0)
    observe(order, seen("replaced", broker_id="b1"), nested=False, at=T0)
    assert (order.broker_id, order.phase, order.status) == ("b2", Phase.LIVE, "new")


def test_ids_are_a_pure_function_of_the_decision_and_short_enough() -> None:
    decision = decision_id("alphatrade", "3", "AAPL", T0)
    first = client_order_id(decision, "AAPL", T0, "entry", 0)
    assert first == "AAPL-20130102T1430-e0-" + first[-16:]
    assert first == client_order_id(decision, "AAPL", T0, "entry", 0)
    others = {
        client_order_id(decision, "AAPL", T0, "entry", 1),
        client_order_id(decision, "AAPL", T0, "exit", 0),
        client_order_id(decision_id("alphatrade", "4", "AAPL", T0), "AAPL", T0, "entry", 0),
        client_order_id(decision_id("other", "3", "AAPL", T0), "AAPL", T0, "entry", 0),
    }
    assert len(others | {first}) == 5
    assert len(client_order_id(decision, "ABCDEFGHIJKLM.B", T0, "protect", 9999)) <= 48


def test_an_exits_decision_names_its_reason_and_its_entry() -> None:
    decision = decision_id("alphatrade", "3", "AAPL", T0)
    assert exit_reason(exit_decision("time", decision)) == "time"
    assert exit_decision("time", decision).split("|", 1)[1] == decision


def chained(*links: BrokerOrder) -> LocalOrder:
    order = local(OrderClass.SIMPLE)
    for link in links:
        observe(order, link, nested=False, at=T0)
    return order


FIRST = seen("replaced", 4, replaced_by="b2")
SECOND = seen("replaced", 3, broker_id="b2", client_order_id="r1", qty=Decimal(6), replaces="b1", replaced_by="b3")
THIRD = seen("filled", 3, broker_id="b3", client_order_id="r2", qty=Decimal(3), replaces="b2")


@given(st.permutations([FIRST, SECOND, THIRD]))
def test_quantities_add_up_over_a_chain_of_replacements_in_any_order(links: list[BrokerOrder]) -> None:
    order = chained(*links, *links)
    assert (order.filled_qty, order.status, order.broker_id, order.is_open) == (10, "filled", "b3", False)
    assert dict(order.fills()) == {"b1": 4, "b2": 3, "b3": 3}


def test_what_is_open_is_what_the_newest_of_the_chain_still_asks_for() -> None:
    order = chained(seen("new"), seen("replaced", 4, replaced_by="b2"))
    assert order.parent_live  # by an id nobody has shown yet: it lives until somebody says otherwise
    assert order.open_qty == 6
    assert order.cancel_target == "b2"
    observe(order, seen("new", 1, broker_id="b2", client_order_id="r1", qty=Decimal(6), replaces="b1"), nested=False, at=T0)
    assert (order.filled_qty, order.open_qty, order.cancel_target) == (5, 5, "b2")


def test_a_replacement_promised_and_then_rejected_leaves_the_order_it_was_to_replace() -> None:
    """Alpaca answers 200; if the old order fills before, the new one is rejected."""
    pending = seen("pending_new", broker_id="b2", client_order_id="r1", replaces="b1")
    rejected = seen("rejected", broker_id="b2", client_order_id="r1", replaces="b1")
    order = chained(seen("pending_replace"), pending)
    assert order.parent_live
    observe(order, seen("filled", 10), nested=False, at=T0)
    assert order.is_open  # the promise has not been withdrawn yet
    observe(order, rejected, nested=False, at=T0)
    assert (order.status, order.filled_qty, order.broker_id, order.is_open) == ("filled", 10, "b1", False)
    goes_on = chained(seen("pending_replace"), pending, rejected, seen("new"))
    assert (goes_on.status, goes_on.open_qty, goes_on.broker_id, goes_on.is_open) == ("new", 10, "b1", True)


def oco() -> LocalOrder:
    order = local(OrderClass.OCO)
    observe(order, seen("new", 0, legs=(leg("s", "held", stop=True),), order_class="oco"), nested=True, at=T0)
    return order


def test_an_elected_stop_with_a_new_id_protects_until_it_is_filled_whatever_is_told_first() -> None:
    """Alpaca books the stop by replacing: the held stop ends as replaced, the profit order too, the sibling's end is never streamed."""
    stop = leg("s", "replaced", stop=True)
    stop_after = {"client_order_id": "s-again", "side": Side.SELL, "stop_price": Decimal(95), "replaces": "s"}
    order = oco()
    observe_leg(order, seen("replaced", broker_id="s", **{**_fields(stop), "replaced_by": "s2"}), at=T0)
    assert order.protective_qty == 10  # the successor has not been shown, but it has been named
    observe(order, seen("replaced", order_class="oco", replaced_by="s2"), nested=False, at=T0)
    working = seen("new", broker_id="s2", **stop_after)
    assert is_leg(order, working)
    observe_leg(order, working, at=T0)
    assert (order.protective_qty, order.is_open, order.cancel_target) == (10, True, "s2")
    observe_leg(order, seen("filled", 10, broker_id="s2", **stop_after), at=T0)
    assert (order.protective_qty, order.is_open) == (0, False)


def _fields(report: BrokerOrder) -> dict[str, object]:
    return {"client_order_id": report.client_order_id, "side": report.side, "stop_price": report.stop_price}


def test_a_stop_that_names_the_profit_order_as_what_it_replaces_is_still_a_stop() -> None:
    order = oco()
    successor = seen("new", broker_id="s2", client_order_id="x", side=Side.SELL, stop_price=Decimal(95), replaces="b1")
    assert is_leg(order, successor)
    moved = seen("new", broker_id="t2", client_order_id="x", side=Side.SELL, limit_price=Decimal(110), replaces="b1")
    assert not is_leg(order, moved)


def test_a_moved_stop_keeps_the_group_protected_at_every_step() -> None:
    order = oco()
    held = {"client_order_id": "moved", "side": Side.SELL, "stop_price": Decimal(96), "replaces": "s"}
    for report in (
        seen("held", broker_id="s2", **held),
        seen("replaced", broker_id="s", **_fields(leg("s", "replaced", stop=True)), replaced_by="s2"),
    ):
        observe_leg(order, report, at=T0)
        assert order.protective_qty == 10
    assert order.stop_leg is not None
    assert order.stop_leg.stop_price == 96


def test_what_is_at_work_has_replaced_what_it_names_even_if_that_word_was_lost() -> None:
    """A crash inside the request: the new process finds the new stop by its name; nobody ever tells of the old one's end."""
    order = oco()
    after = {"client_order_id": "r1", "side": Side.SELL, "stop_price": Decimal(96), "replaces": "s"}
    observe_leg(order, seen("pending_new", broker_id="s2", **after), at=T0)
    assert order.legs["s"].is_live  # merely promised
    observe_leg(order, seen("held", broker_id="s2", **after), at=T0)
    assert (order.legs["s"].status, order.protective_qty) == ("replaced", 10)
    assert order.stop_leg is not None
    assert order.stop_leg.broker_id == "s2"
    observe(order, seen("canceled", order_class="oco"), nested=False, at=T0)
    observe_leg(order, seen("canceled", broker_id="s2", **after), at=T0)
    assert (order.is_open, order.cancel_target, order.protective_qty) == (False, None, 0)


def test_a_replacement_that_was_rejected_has_replaced_nothing() -> None:
    order = oco()
    observe_leg(order, seen("rejected", broker_id="s2", client_order_id="r1", side=Side.SELL, stop_price=Decimal(96), replaces="s"), at=T0)
    assert (order.legs["s"].status, order.protective_qty) == ("held", 10)
