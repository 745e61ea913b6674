"""What else an account holds: crypto, options, multi-leg orders. None of it may reach the core, be sold, cancelled or hold anything up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from alphatrade_pipelines.live.endpoints import Credentials, Endpoints
from alphatrade_pipelines.live.flatten import flatten_directly
from alphatrade_pipelines.live.gateway import AlpacaGateway, GatewayConfig, Patience
from alphatrade_pipelines.live.wire import asset_class, trade_update
from alphatrade_pipelines.trading.commands import ReadBroker
from alphatrade_pipelines.trading.events import BrokerSeen, DiscrepancyFound
from alphatrade_pipelines.venue.server.app import VenueServer
from tests.faults.stage import Script, flat, play
from tests.live.hostile import HostileBroker, Reply, Seen, order_json

AT = datetime(2026, 7, 24, 14, 42, tzinfo=UTC)
OPTION = "AAPL250117C00150000"
CLOCK = {"timestamp": AT.isoformat(), "is_open": True, "next_open": "2026-07-27T13:30:00Z", "next_close": "2026-07-24T20:00:00Z"}
ACCOUNT = {"account_number": "PA1", "equity": "100000", "cash": "1", "buying_power": "2"}


def an_id(number: int) -> str:
    return f"61e69015-8549-4bfd-b9c3-01e7584300{number:02d}"


def position(symbol: str, qty: str, kind: str | None) -> dict[str, Any]:
    """As Alpaca lists it; crypto without the slash its orders have."""
    body = {"symbol": symbol, "qty": qty, "side": "long", "avg_entry_price": "5", "exchange": "", "asset_id": an_id(99)}
    return body if kind is None else {**body, "asset_class": kind}


def fill(number: int, symbol: str, order_id: str) -> dict[str, Any]:
    common = {"activity_type": "FILL", "type": "fill", "transaction_time": "2026-07-24T14:40:00Z", "price": "5", "qty": "1", "side": "buy"}
    return {"id": f"20260724000000000::f{number}", "symbol": symbol, "order_id": order_id, **common}


def multi_leg(number: int, **changes: Any) -> dict[str, Any]:
    """A multi-leg option order: symbol, class and side stand with its legs only (alpaca-py: "omitted from top-level")."""
    legs = [order_json(f"leg-{n}", id=an_id(number + n), symbol=OPTION, asset_class="us_option", side="buy") for n in (1, 2)]
    body = order_json(f"mleg-{number}", id=an_id(number), order_class="mleg", type="limit", limit_price="0.6", legs=legs, **changes)
    return {key: value for key, value in body.items() if key not in ("symbol", "asset_class", "side")}


class MixedAccount:
    """Serves an account with a share position and everything else Alpaca can hold; counts what is asked of it."""

    def __init__(self) -> None:
        self.positions = [
            position("BRK.B", "3", "us_equity"),
            position("BTCUSD", "1.5", "crypto"),
            position(OPTION, "2", "us_option"),
            position("PERP", "1", "crypto_perp"),
        ]
        self.orders = [
            order_json("mine", id=an_id(10), symbol="BRK.B", qty="3"),
            order_json("coin", id=an_id(11), symbol="BTC/USD", asset_class="crypto", qty="0.5", type="limit", limit_price="1"),
            order_json("call", id=an_id(12), symbol=OPTION, asset_class="us_option", qty="1"),
            multi_leg(20),
        ]
        self.fills = [
            fill(1, "BRK.B", an_id(30)),
            fill(2, "BTC/USD", an_id(31)),
            fill(3, "BTCUSD", an_id(32)),
            fill(4, OPTION, an_id(33)),
            fill(5, "PERP", an_id(34)),
            fill(6, "ETHUSD", an_id(35)),
            fill(7, "ODD", an_id(11)),
        ]
        self.mutations: list[tuple[str, str]] = []

    def __call__(self, request: Seen) -> Reply:
        if request.method != "GET":
            self.mutations.append((request.method, request.path))
            return self.changed(request)
        match request.path:
            case "/v2/orders":
                return Reply(200, self.orders)
            case "/v2/account/activities":
                return Reply(200, self.fills)
            case "/v2/positions":
                return Reply(200, self.positions)
            case "/v2/clock":
                return Reply(200, CLOCK)
            case "/v2/account":
                return Reply(200, ACCOUNT)
            case _:
                return Reply(404, {"code": 40410000, "message": "order not found"})

    def changed(self, request: Seen) -> Reply:
        if request.method == "DELETE":
            self.orders = [raw for raw in self.orders if not request.path.endswith(raw["id"])]
            return Reply(204)
        self.positions = [raw for raw in self.positions if raw["symbol"] != request.body["symbol"]]
        return Reply(200, order_json(request.body["client_order_id"], symbol=request.body["symbol"], status="filled", side="sell"))


@pytest.fixture
def broker() -> Iterator[HostileBroker]:
    server = HostileBroker()
    yield server
    server.close()


def gateway_to(broker: HostileBroker) -> AlpacaGateway:
    config = GatewayConfig("sim", Endpoints.of_venue(broker.url), Credentials.of(None, None, "sim"), Patience(1.0, 1.0, 1))
    return AlpacaGateway(config, fills_since=datetime(2026, 7, 20, tzinfo=UTC))


def test_a_read_shows_shares_only_and_names_what_it_leaves_alone(broker: HostileBroker) -> None:
    broker.fallback = MixedAccount()
    gateway = gateway_to(broker)
    seen = gateway.execute(ReadBroker("start"), AT)
    assert isinstance(seen, BrokerSeen)
    assert [(held.symbol, held.qty) for held in seen.positions] == [("BRK.B", Decimal(3))]
    assert [order.client_order_id for order in seen.orders] == ["mine"]
    assert [execution.execution_id for execution in seen.executions] == ["f1"]
    assert seen.account.equity == Decimal(100000)
    named = " ".join(gateway.left_alone)
    assert all(name in named for name in ("BTCUSD (crypto)", f"{OPTION} (us_option)", "PERP (crypto_perp)"))
    assert "BRK.B" not in named


def test_a_page_full_of_coins_does_not_end_the_listing(broker: HostileBroker) -> None:
    """500 crypto orders fill the first page; ours stands on the second."""
    many = [
        order_json(f"coin-{n}", id=f"00000000-0000-0000-0000-{n:012d}", symbol="BTC/USD", asset_class="crypto", status="filled")
        | {"submitted_at": f"2026-07-21T10:{n // 60:02d}:{n % 60:02d}Z"}
        for n in range(500)
    ]
    many.append(order_json("mine", id=an_id(10), submitted_at="2026-07-22T10:00:00Z"))
    account = MixedAccount()

    def answer(request: Seen) -> Reply:
        if request.path != "/v2/orders":
            return account(request)
        after = datetime.fromisoformat(request.query["after"][0]) if "after" in request.query else datetime(2026, 1, 1, tzinfo=UTC)
        return Reply(200, [raw for raw in many if datetime.fromisoformat(raw["submitted_at"]) > after][:500])

    broker.fallback = answer
    seen = gateway_to(broker).execute(ReadBroker("start"), AT)
    assert isinstance(seen, BrokerSeen)
    assert [order.client_order_id for order in seen.orders] == ["mine"]


@pytest.mark.parametrize(
    ("order", "taken"),
    [
        (order_json("x"), True),
        (order_json("x", symbol="BRK.B"), True),
        (order_json("x", symbol="BTC/USD", asset_class="crypto"), False),
        (order_json("x", symbol=OPTION, asset_class="us_option"), False),
        (order_json("x", symbol="BTCUSD", asset_class=None), False),
        (order_json("x", symbol="BRK.B", asset_class=""), True),
        (multi_leg(20), False),
    ],
    ids=["share", "class B", "crypto", "option", "crypto without its class", "class B without its class", "multi-leg"],
)
def test_an_update_of_another_class_is_none_of_ours(order: dict[str, Any], taken: bool) -> None:
    data = {"event": "fill", "timestamp": "2026-07-24T14:42:49Z", "price": "5", "qty": "1", "execution_id": "e", "order": order}
    assert (trade_update(data, AT) is not None) is taken


@pytest.mark.parametrize(
    ("symbol", "kind"),
    [
        *((name, "us_equity") for name in ("A", "SPY", "GOOGL", "BRK.B", "BAC.PRK", "USD", "BTC", "ABC.WS", "SYN001", "T")),
        *((name, "crypto") for name in ("BTC/USD", "BTCUSD", "SHIBUSDT", "ETH/BTC", "ETHBTC")),
        *((name, "us_option") for name in (OPTION, "F250117P00010000", "BRKB260116C00500000")),
    ],
)
def test_without_a_word_the_form_of_the_symbol_tells(symbol: str, kind: str) -> None:
    assert asset_class({"symbol": symbol}) == kind


def test_flattening_sells_the_shares_and_nothing_else(broker: HostileBroker) -> None:
    account = MixedAccount()
    broker.fallback = account
    done = flatten_directly(gateway_to(broker), patience_s=10.0, sleep=lambda _: None)
    assert done.left == ()
    assert account.mutations == [("DELETE", f"/v2/orders/{an_id(10)}"), ("POST", "/v2/orders")]
    assert [raw["symbol"] for raw in account.positions] == ["BTCUSD", OPTION, "PERP"]
    assert "BTCUSD (crypto)" in done.headline
    assert done.headline.startswith("flat")


async def test_a_whole_session_trades_beside_coins_and_options_and_flattens_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The venue's own answers with the rest of a mixed account added to each: entry, protection, flatten and end know only the shares."""
    account = MixedAccount()
    added = {"/v2/positions": account.positions[1:], "/v2/orders": account.orders[1:], "/v2/account/activities": account.fills[1:]}

    @web.middleware
    async def mixed(request: web.Request, handler: Any) -> web.StreamResponse:
        answer = await handler(request)
        if request.method == "GET" and request.path in added:
            answer = web.json_response([*json.loads(answer.text), *added[request.path]])
        return answer  # type: ignore[no-any-return]

    usual = VenueServer.middlewares.fget
    monkeypatch.setattr(VenueServer, "middlewares", property(lambda self: [*usual(self), mixed]))
    async with play(Script([{"AAA": flat(20)}], [("AAA", 1, 2)]), tmp_path) as stage:
        await stage.until_minute(4)
        coin = {"event": "fill", "timestamp": "2024-03-04T15:00:00Z", "price": "5", "qty": "0.5", "execution_id": "e", "event_id": "1"}
        stage.server.trade_updates.publish([{**coin, "order": account.orders[1]}])
        await stage.until_minute(6)
        assert set(stage.state.positions) == {"AAA"}
        assert stage.state.strangers == {}
        assert stage.denials() == []
        await stage.ask("flatten")
        await stage.until(lambda: not stage.positions() and not stage.state.active_symbols())
        assert {intent.request.symbol for purpose in ("entry", "protect", "exit") for intent in stage.intents(purpose)} == {"AAA"}
        assert stage.journaled(DiscrepancyFound) == []
        assert stage.alerts == 1  # what is left alone, told once
        stage.judge()
        assert (await stage.end()).clean
