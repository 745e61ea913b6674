"""Refusals are told apart by their body: texts as Alpaca sends them (documentation and public captures)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from alphatrade_pipelines.trading import CoreConfig
from alphatrade_pipelines.trading.commands import ProbeOrder, RaiseAlert
from alphatrade_pipelines.trading.domain import OrderRequest
from alphatrade_pipelines.trading.events import EntryDenied, Outcome, SignalReceived, SubmitEnded
from alphatrade_pipelines.trading.rejections import STRATEGIES, Cure, Rejection, base_price, classify, rounded_to_lot, strategy
from tests.trading.shell import T0, Shell, make_signal

PENNY = Rejection.PRICE_INCREMENT
ALPACA = [
    (401, None, "unauthorized.", Rejection.ACCOUNT),
    (401, 40110000, "request is not authorized", Rejection.ACCOUNT),
    (403, None, "forbidden.", Rejection.ACCOUNT),
    (403, 40310000, "forbidden.", Rejection.ACCOUNT),
    (403, 40310000, "insufficient buying power", Rejection.BUYING_POWER),
    (403, 40310000, "insufficient qty available for order (requested: 16, available: 0)", Rejection.QUANTITY_HELD),
    (403, 40310000, "potential wash trade detected. use complex orders", Rejection.WASH_TRADE),
    (422, 42210000, "potential wash trade detected", Rejection.WASH_TRADE),
    (403, 40310000, "cannot open a long buy while a short sell order is open", Rejection.WASH_TRADE),
    (403, 40310000, "unable to open new notional orders while having open closing position orders", Rejection.QUANTITY_HELD),
    (403, 40310000, "account is not allowed to short", Rejection.NOT_TRADABLE),
    (403, 40310000, "new orders are rejected by user request", Rejection.ACCOUNT),
    (403, 40310000, "cost basis must be >= minimal amount of order 1", Rejection.TOO_SMALL),
    (403, 40310000, "account not eligible to trade uncovered option contracts", Rejection.NOT_TRADABLE),
    (403, 40310000, "something nobody has seen yet", Rejection.OTHER),
    (403, 40310000, "trading blocked", Rejection.ACCOUNT),
    (403, 40310000, "account is restricted to liquidation", Rejection.ACCOUNT),
    (403, 40310100, "trade denied due to pattern day trading protection", Rejection.DAY_TRADING),
    (403, 40310100, "denied", Rejection.DAY_TRADING),
    (404, 40410000, "order not found for 61e69015", Rejection.NOT_FOUND),
    (404, 40410000, "asset not found for X", Rejection.NOT_FOUND),
    (404, 40410000, "order not found", Rejection.NOT_FOUND),
    (404, 40410000, "position does not exist", Rejection.NOT_FOUND),
    (422, 40010001, "client_order_id must be unique", Rejection.DUPLICATE_ID),
    (422, 40010001, "qty must be integer", Rejection.QUANTITY_INVALID),
    (422, 40010001, "qty is required", Rejection.INVALID),
    (422, 40010001, "bracket orders must be market or limit orders", Rejection.INVALID),
    (422, 40010001, "bracket orders require take_profit.limit_price", Rejection.INVALID),
    (422, 42210000, "fractional orders must be DAY orders", Rejection.QUANTITY_INVALID),
    (422, 42210000, "fractional orders must be simple orders", Rejection.QUANTITY_INVALID),
    (422, 42210000, "fractional orders cannot be sold short", Rejection.NOT_TRADABLE),
    (422, 42210000, "requested asset is not fractionable", Rejection.QUANTITY_INVALID),
    (422, 42210000, "cannot replace order in accepted status", Rejection.NOT_IN_STATE),
    (422, 42210000, 'order is already in "filled" state', Rejection.NOT_IN_STATE),
    (422, 42210000, "limit orders must not have stop_price", Rejection.INVALID),
    (422, 42210000, "extended hours order must be DAY limit orders", Rejection.INVALID),
    (400, 40010000, "only one of qty or notional is accepted", Rejection.INVALID),
    (422, 42210000, "bracket orders must be entry orders", Rejection.INVALID),
    (
        422,
        42210000,
        "invalid limit_price 290.123. sub-penny increment does not fulfill minimum pricing criteria",
        Rejection.PRICE_INCREMENT,
    ),
    (422, 42210000, "take_profit.limit_price must be >= base_price + 0.01", Rejection.PRICE),
    (422, 42210000, "stop_loss.stop_price must be <= base_price - 0.01", Rejection.PRICE),
    (422, 42210000, "asset ZZZZ is not tradable", Rejection.NOT_TRADABLE),
    (422, 42210000, 'asset "STKH" cannot be sold short', Rejection.NOT_TRADABLE),
    (429, 42910000, "rate limit exceeded", Rejection.RATE_LIMITED),
    (422, 42210000, 'stop_loss.stop_price must be <= base_price - 0.01 {"base_price": "94.99"}', Rejection.PRICE),
    (422, 42210000, "limit price is too far from the market", Rejection.PRICE),
    (429, None, "too many requests", Rejection.RATE_LIMITED),
    (403, 40310000, "market is closed", Rejection.MARKET_CLOSED),
    (422, 42210000, "trading is halted in this asset", Rejection.HALTED),
    (None, None, "", Rejection.OTHER),
    (418, 123, "something never seen", Rejection.OTHER),
]


@pytest.mark.parametrize(("status", "code", "reason", "expected"), ALPACA)
def test_the_body_decides(status: int | None, code: int | None, reason: str, expected: Rejection) -> None:
    assert classify(status, code, reason) is expected
    assert classify(status, code, reason.upper()) is expected


def test_every_cause_has_a_bounded_strategy() -> None:
    assert set(STRATEGIES) == set(Rejection)
    for rejection in Rejection:
        attempts = strategy(rejection).attempts
        assert attempts is None or 1 <= attempts <= 10
    assert {cause for cause in Rejection if strategy(cause).cure is Cure.HALVE} == {Rejection.BUYING_POWER}
    assert strategy(Rejection.ACCOUNT).cure is Cure.HALT
    assert strategy(Rejection.OTHER).cure is Cure.GIVE_UP


def test_the_base_price_is_read_from_the_body() -> None:
    assert base_price('take_profit.limit_price must be >= base_price + 0.01 {"base_price": "0.1616"}') == Decimal("0.1616")
    assert base_price('... {"base_price": 101.5, "code": 1}') == Decimal("101.5")
    assert base_price("take_profit.limit_price must be >= base_price + 0.01") is None


@pytest.mark.parametrize(("qty", "lot"), [("150.7", 150), ("150", 100), ("99", 0), ("0.4", 0), ("1200", 1200)])
def test_a_quantity_is_rounded_to_whole_shares_then_to_board_lots(qty: str, lot: int) -> None:
    assert rounded_to_lot(Decimal(qty)) == lot


def ready() -> Shell:
    shell = Shell()
    shell.start()
    shell.open_market()
    shell.price("AAPL", 100)
    return shell


def refuse(shell: Shell, *answers: tuple[int, int, str], retry_after_s: float | None = None) -> list[OrderRequest]:
    """The broker refuses as often as there are answers, then accepts; the requests it saw."""
    seen: list[OrderRequest] = []
    left = list(answers)
    submit = shell.broker._submit

    def answer(request: OrderRequest) -> SubmitEnded:
        seen.append(request)
        if not left:
            return submit(request)
        status, code, reason = left.pop(0)
        return SubmitEnded(shell.broker.now, request.client_order_id, Outcome.REFUSED, None, status, code, reason, retry_after_s)

    shell.broker._submit = answer  # type: ignore[method-assign]
    return seen


FUNDS = (403, 40310000, "insufficient buying power")
LIMITED = (429, 42910000, "rate limit exceeded")


def test_buying_power_halves_down_to_a_minimum() -> None:
    shell = Shell(CoreConfig(min_entry_qty=50))
    shell.start()
    shell.open_market()
    shell.price("AAPL", 100)
    seen = refuse(shell, *[FUNDS] * 9)
    shell.signal("AAPL")
    assert [request.qty for request in seen] == [150, 75]  # 37 would be below the minimum
    assert shell.state.plans == {}


def test_a_rate_limits_own_reset_is_honoured() -> None:
    shell = ready()
    seen = refuse(shell, LIMITED, retry_after_s=20.0)
    shell.signal("AAPL")
    shell.tick(19)
    assert len(seen) == 1
    shell.tick(2)
    assert len(seen) == 2
    assert shell.broker.positions == {"AAPL": 150}


def test_without_a_word_about_its_reset_the_pauses_double() -> None:
    shell = ready()
    seen = refuse(shell, *[LIMITED] * 9)
    shell.signal("AAPL")
    times = []
    for _ in range(60):
        before = len(seen)
        shell.tick(1)
        times += [(shell.broker.now - T0).total_seconds()] * (len(seen) - before)
    assert times == [1.0, 3.0, 7.0, 15.0, 31.0]
    assert shell.state.plans == {}


def test_market_closed_queues_for_the_open_if_the_signal_is_still_fresh_then() -> None:
    shell = Shell(CoreConfig(signal_max_age_s=86400.0, price_max_age_s=86400.0))
    shell.start()
    shell.price("AAPL", 100)
    seen = refuse(shell, (403, 40310000, "market is closed"))
    shell.close_market()
    shell.signal("AAPL")
    shell.tick(3600)
    assert len(seen) == 1
    shell.broker.market_open = True
    shell.tick(17 * 3600)
    assert len(seen) == 2
    assert shell.broker.positions == {"AAPL": 150}


def test_a_halt_is_waited_out() -> None:
    shell = ready()
    seen = refuse(shell, *[(422, 42210000, "trading is halted")] * 3)
    shell.signal("AAPL")
    for _ in range(12):
        shell.tick(10)
    assert len(seen) == 4
    assert shell.broker.positions == {"AAPL": 150}


def test_a_wash_trade_is_waited_out_with_bounded_attempts() -> None:
    shell = ready()
    seen = refuse(shell, *[(403, 40310000, "potential wash trade detected. use complex orders")] * 9)
    shell.signal("AAPL")
    for _ in range(60):
        shell.tick(10)
    assert len(seen) == 4
    assert shell.state.plans == {}


def test_an_invalid_quantity_is_rounded_to_the_lot() -> None:
    shell = ready()
    seen = refuse(shell, (422, 42210000, "invalid qty: must be a multiple of the lot size"))
    shell.signal("AAPL")
    assert [request.qty for request in seen] == [150, 100]
    assert shell.broker.stop_qty("AAPL") == 100


def test_a_price_too_close_is_quoted_anew_from_the_brokers_base() -> None:
    shell = ready()
    seen = refuse(shell, (422, 42210000, 'stop_loss.stop_price must be <= base_price - 0.01 {"base_price": "98"}'))
    shell.signal("AAPL")
    assert [(request.stop_loss, request.take_profit) for request in seen] == [
        (Decimal("95.00"), Decimal("105.50")),
        (Decimal("93.10"), Decimal("103.39")),  # 5 % below and 5.5 % above 98
    ]
    assert shell.state.plans["AAPL"].stop == Decimal("93.10")


def test_a_base_beyond_the_stop_ends_the_idea() -> None:
    shell = ready()
    seen = refuse(shell, (422, 42210000, 'stop_loss.stop_price must be <= base_price - 0.01 {"base_price": "94.50"}'))
    shell.signal("AAPL")
    assert len(seen) == 1
    assert shell.state.plans == {}


def test_a_price_off_the_grid_is_rounded() -> None:
    shell = ready()
    seen = refuse(shell, (422, 42210000, "invalid stop_price 95.004. sub-penny increment does not fulfill minimum pricing criteria"))
    shell.send(SignalReceived(shell.broker.now, make_signal("AAPL", Decimal(100), shell.broker.now, stop_price=Decimal("95.004"))))
    assert [request.stop_loss for request in seen] == [Decimal("95.004"), Decimal("95.00")]


def test_an_asset_that_may_not_be_traded_is_left_alone_until_the_next_session() -> None:
    shell = ready()
    refuse(shell, (422, 42210000, "asset AAPL is not tradable"))
    shell.signal("AAPL")
    shell.tick(60)
    shell.price("AAPL", 100)
    shell.signal("AAPL")
    codes = [event.code for _, event in shell.log.events() if isinstance(event, EntryDenied)]
    assert codes == ["SYMBOL_EXCLUDED"]
    shell.restart()
    shell.tick(60)
    shell.price("AAPL", 100)
    shell.signal("AAPL")
    assert shell.broker.positions == {"AAPL": 150}


@pytest.mark.parametrize("reason", ["qty is required", "something never seen"])
def test_what_nobody_understands_is_said_aloud_and_not_tried_again(reason: str) -> None:
    shell = ready()
    seen = refuse(shell, *[(422 if "qty" in reason else 418, 1, reason)] * 5)
    shell.signal("AAPL")
    for _ in range(20):
        shell.tick(60)
    assert len(seen) == 1
    alerts = [command.detail for command in shell.commands if isinstance(command, RaiseAlert)]
    assert [detail for detail in alerts if reason in detail]


def test_what_never_left_is_sent_again_under_the_same_name_and_counts_as_no_refusal() -> None:
    shell = ready()
    submit, seen = shell.broker._submit, []

    def unplugged(request: OrderRequest) -> SubmitEnded:
        seen.append(request)
        return SubmitEnded(shell.broker.now, request.client_order_id, Outcome.UNSENT, reason="not sent: ConnectTimeout")

    shell.broker._submit = unplugged  # type: ignore[method-assign]
    shell.signal("AAPL")
    shell.tick(1)
    assert not [command for command in shell.commands if isinstance(command, ProbeOrder)]  # nobody needs to ask what was never sent
    shell.broker._submit = submit  # type: ignore[method-assign]
    shell.tick(5)
    assert len({request.client_order_id for request in seen}) == 1
    assert shell.broker.positions == {"AAPL": 150}
    assert shell.check() == []


def test_what_never_left_and_is_no_longer_wanted_is_given_up() -> None:
    shell = ready()
    shell.broker._submit = lambda request: SubmitEnded(shell.broker.now, request.client_order_id, Outcome.UNSENT, reason="not sent")  # type: ignore[method-assign]
    shell.signal("AAPL")
    del shell.broker._submit
    shell.tick(7200)
    assert shell.broker.orders == []
    assert shell.state.live == {}
    assert shell.engine.open_business() == []


def test_what_the_adapter_cannot_express_is_not_tried_again() -> None:
    shell = ready()
    seen = []

    def denied(request: OrderRequest) -> SubmitEnded:
        seen.append(request)
        return SubmitEnded(shell.broker.now, request.client_order_id, Outcome.DENIED, reason="not sent: ValueError")

    shell.broker._submit = denied  # type: ignore[method-assign]
    shell.signal("AAPL")
    for _ in range(10):
        shell.tick(60)
    assert len(seen) == 1
    assert shell.state.plans == {}
