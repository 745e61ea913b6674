"""Every way a REST call can end, against a real socket and the unmodified SDK."""

from __future__ import annotations

import json
import socket
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from alphatrade_pipelines.live.endpoints import Credentials, Endpoints
from alphatrade_pipelines.live.gateway import AlpacaGateway, GatewayConfig, Patience
from alphatrade_pipelines.live.transport import BrokerRefusedError, BrokerUnavailableError
from alphatrade_pipelines.live.wire import WireError
from alphatrade_pipelines.trading.commands import CancelOrder, ClosePosition, ProbeOrder, ReadBroker, ReplaceOrder, SubmitOrder
from alphatrade_pipelines.trading.domain import OrderClass, OrderKind, OrderRequest, Side, TimeInForce
from alphatrade_pipelines.trading.events import BrokerSeen, CloseEnded, Outcome, ReplaceEnded
from tests.live.hostile import HostileBroker, Reply, Seen, order_json

AT = datetime(2026, 7, 24, 14, 42, tzinfo=UTC)
BRACKET = OrderRequest(
    "at-spy-1", "SPY", Side.BUY, Decimal(10), OrderKind.MARKET, OrderClass.BRACKET, TimeInForce.GTC,
    take_profit=Decimal("110.05"), stop_loss=Decimal("95.10"),
)  # fmt: skip


@pytest.fixture
def broker() -> Iterator[HostileBroker]:
    server = HostileBroker()
    yield server
    server.close()


def gateway_to(url: str, **changes: object) -> AlpacaGateway:
    config = GatewayConfig("sim", Endpoints.of_venue(url), Credentials.of(None, None, "sim"), Patience(1.0, 0.4, 2))
    return AlpacaGateway(replace(config, **changes), fills_since=datetime(2026, 7, 20, tzinfo=UTC))  # type: ignore[arg-type]


def test_confirmed_bracket_goes_out_as_alpaca_expects(broker: HostileBroker) -> None:
    legs = [order_json("leg-1", id="61e69015-8549-4bfd-b9c3-01e75843f471", status="held", type="limit", side="sell", limit_price="110.05")]
    broker.script.append(Reply(200, order_json("at-spy-1", order_class="bracket", status="pending_new", legs=legs)))
    ended = gateway_to(broker.url).submit(BRACKET, AT)
    assert ended.outcome is Outcome.CONFIRMED
    assert ended.order is not None
    assert ended.order.legs[0].limit_price == Decimal("110.05")
    assert broker.seen[0].body == {
        "symbol": "SPY", "qty": 10.0, "side": "buy", "type": "market", "time_in_force": "gtc", "order_class": "bracket",
        "client_order_id": "at-spy-1", "take_profit": {"limit_price": 110.05}, "stop_loss": {"stop_price": 95.1},
    }  # fmt: skip


def test_oco_needs_no_limit_price_of_its_own(broker: HostileBroker) -> None:
    oco = replace(BRACKET, side=Side.SELL, kind=OrderKind.LIMIT, order_class=OrderClass.OCO)
    broker.script.append(Reply(200, order_json("at-spy-1", order_class="oco", side="sell", type="limit")))
    assert gateway_to(broker.url).submit(oco, AT).outcome is Outcome.CONFIRMED
    assert broker.seen[0].body["order_class"] == "oco"
    assert "limit_price" not in broker.seen[0].body


@pytest.mark.parametrize(
    ("reply", "outcome", "status", "code"),
    [
        (Reply(403, {"code": 40310000, "message": "insufficient buying power", "buying_power": "12"}), Outcome.REFUSED, 403, 40310000),
        (Reply(422, {"code": 42210000, "message": "asset ZZZZ is not tradable"}), Outcome.REFUSED, 422, 42210000),
        (Reply(422, {"code": 40010001, "message": "qty must be integer"}), Outcome.REFUSED, 422, 40010001),
        (Reply(401, {"message": "unauthorized."}), Outcome.REFUSED, 401, None),
        (Reply(429, {"code": 42910000, "message": "rate limit exceeded"}), Outcome.REFUSED, 429, 42910000),
        (Reply(500, {"code": 50010000, "message": "internal server error"}), Outcome.UNKNOWN, 500, 50010000),
        (Reply(502, b"<html>Bad Gateway</html>"), Outcome.UNKNOWN, 502, None),
        (Reply(504, {"message": "backend request timeout"}), Outcome.UNKNOWN, 504, None),
        (Reply(200, b"<html>not json</html>"), Outcome.UNKNOWN, None, None),
        (Reply(200, {"id": "x"}), Outcome.UNKNOWN, None, None),
        (Reply(302, b"<html>moved</html>"), Outcome.UNKNOWN, None, None),
        (Reply(0), Outcome.UNKNOWN, None, None),
        (Reply(200, order_json("at-spy-1"), delay=1.0), Outcome.UNKNOWN, None, None),
    ],
    ids=["funds", "asset", "bad-qty", "keys", "rate", "500", "html-502", "504", "not-json", "half-order", "redirect", "dropped", "hung"],
)
def test_every_ending_is_named_and_nothing_is_sent_twice(
    broker: HostileBroker, reply: Reply, outcome: Outcome, status: int | None, code: int | None
) -> None:
    broker.script.append(reply)
    ended = gateway_to(broker.url).submit(BRACKET, AT)
    assert (ended.outcome, ended.http_status, ended.code) == (outcome, status, code)
    assert ended.reason
    assert len([request for request in broker.seen if request.method == "POST"]) == 1


def test_extra_keys_of_a_refusal_are_kept(broker: HostileBroker) -> None:
    body = {"code": 40310000, "message": "potential wash trade detected. use complex orders", "existing_order_id": "a182da86"}
    broker.script.append(Reply(403, body))
    assert "a182da86" in gateway_to(broker.url).submit(BRACKET, AT).reason


def test_a_refused_connection_was_never_sent() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        ended = gateway_to(url).submit(BRACKET, AT)
    assert ended.outcome is Outcome.UNSENT
    assert ended.reason.startswith("not sent")


def test_what_the_sdk_cannot_express_is_denied_and_never_sent(broker: HostileBroker) -> None:
    naked = replace(BRACKET, take_profit=None, stop_loss=None, order_class=OrderClass.OCO, kind=OrderKind.LIMIT)
    ended = gateway_to(broker.url).submit(naked, AT)
    assert ended.outcome is Outcome.DENIED
    assert broker.seen == []


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Date": "Fri, 24 Jul 2026 14:42:10 GMT", "X-RateLimit-Reset": "1784904160"}, 30.0),
        ({"X-RateLimit-Reset": "soon"}, None),
        ({}, None),
    ],
)
def test_a_rate_limit_says_how_long_to_wait(broker: HostileBroker, headers: dict[str, str], expected: float | None) -> None:
    broker.script.append(Reply(429, {"code": 42910000, "message": "rate limit exceeded"}, headers=headers))
    assert gateway_to(broker.url).submit(BRACKET, AT).retry_after_s == expected


OLD, NEW, NEWEST = (f"61e69015-8549-4bfd-b9c3-01e7584300{n:02d}" for n in range(3))


def test_a_replacement_goes_out_with_its_own_name_and_ends_as_it_ends(broker: HostileBroker) -> None:
    gateway, command = gateway_to(broker.url), ReplaceOrder(OLD, "SPY", "at-spy-r1", Decimal(7), Decimal("99.50"))
    broker.script.append(Reply(200, order_json("at-spy-r1", id=NEW, replaces=OLD, qty="7")))
    ended = gateway.execute(command, AT)
    assert isinstance(ended, ReplaceEnded)
    assert (ended.outcome, ended.broker_id, ended.client_order_id) == (Outcome.CONFIRMED, OLD, "at-spy-r1")
    assert ended.order is not None
    assert (ended.order.broker_id, ended.order.replaces) == (NEW, OLD)
    assert (broker.seen[0].method, broker.seen[0].path) == ("PATCH", f"/v2/orders/{OLD}")
    assert broker.seen[0].body == {"qty": 7, "limit_price": 99.5, "client_order_id": "at-spy-r1"}
    broker.script = deque([Reply(422, {"code": 42210000, "message": "cannot replace order in accepted status"}), Reply(504), Reply(0)])
    outcomes = [gateway.replace(command, AT).outcome for _ in range(3)]
    assert outcomes == [Outcome.REFUSED, Outcome.UNKNOWN, Outcome.UNKNOWN]


def test_the_broker_closes_a_position_or_says_why_not(broker: HostileBroker) -> None:
    gateway = gateway_to(broker.url)
    broker.script = deque(
        [
            Reply(200, order_json("made-by-alpaca", side="sell")),
            Reply(403, {"code": 40310000, "message": "insufficient qty available for order (requested: 10, available: 0)"}),
            Reply(404, {"code": 40410000, "message": "position does not exist"}),
            Reply(500),
        ]
    )
    ended = [gateway.execute(ClosePosition("SPY"), AT) for _ in range(4)]
    assert [(end.outcome, end.http_status) for end in ended if isinstance(end, CloseEnded)] == [
        (Outcome.CONFIRMED, None),
        (Outcome.REFUSED, 403),
        (Outcome.REFUSED, 404),
        (Outcome.UNKNOWN, 500),
    ]
    assert (broker.seen[0].method, broker.seen[0].path) == ("DELETE", "/v2/positions/SPY")


def test_a_read_follows_what_replaced_an_order_that_left_the_lists(broker: HostileBroker) -> None:
    chain = {OLD: (NEW, "replaced"), NEW: (NEWEST, "replaced"), NEWEST: (None, "filled")}

    def answer(request: Seen) -> Reply:
        broker_id = request.path.rsplit("/", 1)[-1]
        if broker_id in chain:
            successor, status = chain[broker_id]
            return Reply(200, order_json(f"c-{broker_id}", id=broker_id, replaced_by=successor, status=status))
        return Reply(200, {"account_number": "PA1", "equity": "1", "cash": "1", "buying_power": "2"} if broker_id == "account" else [])

    broker.fallback = answer
    config = GatewayConfig("sim", Endpoints.of_venue(broker.url), Credentials.of(None, None, "sim"))
    seen = AlpacaGateway(config, AT, believed_live=[OLD]).execute(ReadBroker("interval"), AT)
    assert isinstance(seen, BrokerSeen)
    assert {order.broker_id for order in seen.orders} == {OLD, NEW, NEWEST}


DUPLICATE = Reply(422, {"code": 40010001, "message": "client_order_id must be unique"})


def test_duplicate_id_adopts_the_order_that_is_there(broker: HostileBroker) -> None:
    broker.script = deque([DUPLICATE, Reply(200, order_json("at-spy-1", status="filled", filled_qty="10", filled_avg_price="101.5"))])
    ended = gateway_to(broker.url).submit(BRACKET, AT)
    assert ended.outcome is Outcome.CONFIRMED
    assert ended.order is not None
    assert ended.order.filled_avg_price == Decimal("101.5")
    assert broker.seen[1].query == {"client_order_id": ["at-spy-1"]}


def test_duplicate_id_of_a_different_order_is_not_adopted(broker: HostileBroker) -> None:
    broker.script = deque([DUPLICATE, Reply(200, order_json("at-spy-1", qty="99"))])
    ended = gateway_to(broker.url).submit(BRACKET, AT)
    assert ended.outcome is Outcome.UNKNOWN
    assert "another order" in ended.reason


def test_probe_tells_absent_from_silent(broker: HostileBroker) -> None:
    gateway = gateway_to(broker.url)
    broker.script.append(Reply(404, {"code": 40410000, "message": "order not found"}))
    assert gateway.probe("x", AT).outcome is Outcome.REFUSED
    broker.script = deque([Reply(500), Reply(500)])
    assert gateway.probe("x", AT).outcome is Outcome.UNKNOWN
    broker.script.append(Reply(401, {"message": "unauthorized."}))
    assert gateway.probe("x", AT).outcome is Outcome.UNKNOWN


def test_cancel_endings(broker: HostileBroker) -> None:
    gateway, order_id = gateway_to(broker.url), "61e69015-8549-4bfd-b9c3-01e75843f47d"
    broker.script = deque([Reply(204), Reply(422, {"code": 42210000, "message": "order is already in filled state"}), Reply(500), Reply(0)])
    outcomes = [gateway.cancel(order_id, AT).outcome for _ in range(4)]
    assert outcomes == [Outcome.CONFIRMED, Outcome.REFUSED, Outcome.UNKNOWN, Outcome.UNKNOWN]


def test_reads_are_retried_and_then_say_unavailable(broker: HostileBroker) -> None:
    gateway = gateway_to(broker.url)
    clock = {
        "timestamp": "2026-07-24T10:42:00.123456789-04:00",
        "is_open": True,
        "next_open": "2026-07-27T09:30:00-04:00",
        "next_close": "2026-07-24T16:00:00-04:00",
    }
    broker.script = deque([Reply(503), Reply(200, clock)])
    assert gateway.clock(2).at == datetime(2026, 7, 24, 14, 42, 0, 123456, tzinfo=UTC)
    broker.script = deque([Reply(503), Reply(0)])
    with pytest.raises(BrokerUnavailableError, match="2 attempts"):
        gateway.clock(2)
    broker.script.append(Reply(503))
    with pytest.raises(BrokerUnavailableError, match="1 attempts"):
        gateway.clock()
    broker.script.append(Reply(401, {"message": "unauthorized."}))
    with pytest.raises(BrokerRefusedError, match="401"):
        gateway.account()


def test_reconciliation_read_pages_and_finds_orders_that_left_both_lists(broker: HostileBroker) -> None:
    """501 orders need a second page, 101 fills too, and the bracket that is in no list any more is read by its id."""
    old = "61e69015-8549-4bfd-b9c3-01e758430000"
    many = [
        order_json(
            f"c{n}", id=f"00000000-0000-0000-0000-{n:012d}", submitted_at=f"2026-07-21T10:{n // 60:02d}:{n % 60:02d}Z", status="filled"
        )
        for n in range(501)
    ]
    fill = {"order_id": "o", "symbol": "SPY", "side": "sell_short", "qty": "1", "price": "5", "transaction_time": "2026-07-21T10:00:00Z"}
    fills = [{"id": f"20260721000000000::f{n}", **fill} for n in range(101)]

    def answer(request: Seen) -> Reply:
        if request.path == "/v2/orders" and request.query["status"] == ["open"]:
            return Reply(200, [])
        if request.path == "/v2/orders":
            after = datetime.fromisoformat(request.query["after"][0])
            page = [raw for raw in many if datetime.fromisoformat(raw["submitted_at"]) > after]
            return Reply(200, page[:500])
        if request.path == f"/v2/orders/{old}":
            return Reply(200, order_json("gtc", id=old, status="filled"))
        if request.path == "/v2/account/activities":
            start = [f["id"] for f in fills].index(request.query["page_token"][0]) + 1 if "page_token" in request.query else 0
            return Reply(200, fills[start : start + 100])
        if request.path == "/v2/positions":
            return Reply(200, [{"symbol": "SPY", "qty": "3", "side": "short", "avg_entry_price": "5"}])
        return Reply(200, {"account_number": "PA1", "equity": "1", "cash": "1", "buying_power": "2", "trade_suspended_by_user": True})

    broker.fallback = answer
    config = GatewayConfig("sim", Endpoints.of_venue(broker.url), Credentials.of(None, None, "sim"))
    gateway = AlpacaGateway(config, datetime(2026, 7, 20, tzinfo=UTC), believed_live=[old])
    seen = gateway.execute(ReadBroker("start"), AT)
    assert isinstance(seen, BrokerSeen)
    assert {order.client_order_id for order in seen.orders} == {f"c{n}" for n in range(501)} | {"gtc"}
    assert [execution.execution_id for execution in seen.executions] == [f"f{n}" for n in range(101)]
    assert seen.positions[0].qty == Decimal(-3)
    assert seen.account.trading_blocked


def test_a_silent_broker_gives_no_snapshot_rather_than_a_flat_one(broker: HostileBroker) -> None:
    broker.fallback = lambda _: Reply(503)
    assert gateway_to(broker.url).execute(ReadBroker("start"), AT) is None


@pytest.mark.parametrize("trouble", [Reply(500), Reply(0), Reply(404), Reply(200, [], delay=3.0), Reply(200, b"<html>"), Reply(200, [{}])])
def test_a_read_goes_on_without_the_fills_and_asks_for_them_again(broker: HostileBroker, trouble: Reply) -> None:
    """Orders and positions are what protection needs. What could not be read is asked for again from the same moment on."""
    fill = {"id": "1::f1", "order_id": "o", "symbol": "SPY", "side": "buy", "qty": "1", "price": "5", "transaction_time": AT.isoformat()}
    asked: list[str] = []
    well = [False]

    def answer(request: Seen) -> Reply:
        if request.path == "/v2/account/activities":
            asked.append(request.query["after"][0])
            return Reply(200, [fill]) if well[0] else trouble
        if request.path == "/v2/positions":
            return Reply(200, [{"symbol": "SPY", "qty": "3", "side": "long", "avg_entry_price": "5"}])
        account = {"account_number": "PA1", "equity": "1", "cash": "1", "buying_power": "2"}
        return Reply(200, account if request.path == "/v2/account" else [])

    broker.fallback = answer
    gateway = gateway_to(broker.url, patience=Patience(1.0, 10.0, 4, 0.05, glance_timeout=0.3))
    began = time.monotonic()
    seen = [gateway.execute(ReadBroker("interval"), AT) for _ in range(2)]
    assert time.monotonic() - began < 2.0, "what hangs is not waited for as long as orders are"
    well[0] = True
    seen += [gateway.execute(ReadBroker("interval"), AT) for _ in range(2)]
    assert all(isinstance(one, BrokerSeen) and one.positions[0].qty == 3 for one in seen)
    assert [(one.fills_known, len(one.executions)) for one in seen if isinstance(one, BrokerSeen)] == [(False, 0)] * 2 + [(True, 1)] * 2
    assert len(set(asked[:-1])) == 1
    assert asked[-1] > asked[-2]


def test_an_id_the_broker_does_not_know_is_told_even_if_the_read_it_came_in_failed(broker: HostileBroker) -> None:
    broken = [True]

    def answer(request: Seen) -> Reply:
        if request.path.startswith("/v2/orders/"):
            return Reply(404, {"code": 40410000, "message": "order not found"})
        if request.path == "/v2/positions" and broken[0]:
            return Reply(503)
        return Reply(200, {"account_number": "PA1", "equity": "1", "cash": "1", "buying_power": "2"} if "account" in request.path else [])

    broker.fallback = lambda request: Reply(200, []) if "activities" in request.path else answer(request)
    config = GatewayConfig("sim", Endpoints.of_venue(broker.url), Credentials.of(None, None, "sim"), Patience(1.0, 1.0, 1))
    gateway = AlpacaGateway(config, AT, believed_live=[OLD])
    assert gateway.execute(ReadBroker("interval"), AT) is None
    broken[0] = False
    seen = [gateway.execute(ReadBroker("interval"), AT) for _ in range(2)]
    assert [one.absent for one in seen if isinstance(one, BrokerSeen)] == [(OLD,), ()]


def test_keys_do_not_show(broker: HostileBroker) -> None:
    config = GatewayConfig("sim", Endpoints.of_venue(broker.url), Credentials.of("AKIDSECRET", "TOPSECRET", "sim"))
    assert "SECRET" not in repr(config)
    broker.script.append(Reply(403, {"code": 40310000, "message": "no"}))
    gateway = AlpacaGateway(config, AT)
    assert "SECRET" not in repr(gateway.execute(SubmitOrder(BRACKET), AT))


KEYS = Credentials.of("AKIDSECRET0001", "TOP/SECRET+value", "sim")
SPELLINGS = ("AKIDSECRET0001", "TOP/SECRET+value", "TOP%2FSECRET%2Bvalue", "TOP\\/SECRET+value")


def html_echo(request: Seen) -> bytes:
    """An error page for developers: it shows the request it was made for."""
    shown = "".join(f"<li>{name}: {value}</li>" for name, value in request.headers.items())
    return f"<html><body><ul>{shown}</ul>{' '.join(SPELLINGS)}</body></html>".encode()


def json_echo(request: Seen) -> bytes:
    body = json.dumps({"code": 40310000, "message": f"refused: {request.headers}", "seen": list(SPELLINGS[:3])})
    return body.replace("TOP/", "TOP\\/", 1).encode()  # as PHP writes a slash


@pytest.mark.parametrize(("status", "page"), [(502, html_echo), (403, html_echo), (403, json_echo), (400, json_echo), (200, html_echo)])
def test_a_page_that_echoes_our_headers_does_not_make_us_write_the_keys_down(
    broker: HostileBroker, status: int, page: Callable[[Seen], bytes], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(request: Seen) -> Reply:
        assert "TOP/SECRET+value" in request.headers.values()
        return Reply(status, page(request))

    broker.fallback = answer
    gateway = AlpacaGateway(
        GatewayConfig("sim", Endpoints.of_venue(broker.url), KEYS, Patience(1.0, 1.0, 2, 0.01)), AT, believed_live=[OLD]
    )
    commands = [SubmitOrder(BRACKET), CancelOrder(OLD, "SPY"), ReplaceOrder(OLD, "SPY", "r", Decimal(7)), ClosePosition("SPY")]
    said = [repr(gateway.execute(command, AT)) for command in (*commands, ProbeOrder("x"), ReadBroker("start"))]
    for call in (gateway.account, gateway.clock, lambda: gateway.corporate_actions(["SPY"], AT.date(), AT.date())):
        with pytest.raises((BrokerUnavailableError, WireError)) as raised:
            call()
        said += [str(raised.value), repr(raised.value), "".join(traceback.format_exception(raised.value))]
    said += [capsys.readouterr().out, caplog.text]
    assert [text for text in said if any(part in text for part in ("AKID", "SECRET+", "SECRET%"))] == []
    assert any("***" in text for text in said) or status == 200
