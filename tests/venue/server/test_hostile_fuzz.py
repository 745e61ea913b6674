"""Any JSON in any field and any text in any query: taken as it stands, or refused and nothing moved."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from hostile_world import Target, adds_up, served, shaped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served_world import KEYS

EXAMPLES = int(os.environ.get("VENUE_EXAMPLES", "100"))  # ``make prove-venue`` asks for more
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
TRICKY = st.sampled_from(
    [
        "",
        " ",
        "0",
        "-0",
        "-1",
        "1e-30",
        "1e30",
        "NaN",
        "sNaN",
        "Infinity",
        "０",
        "1_000",
        "0x10",
        "1,5",
        "AAA\x00",
        "../AAA",
        "💥",
        "buy\n",
        1e308,
        -1,
        0,
    ]
)
FIELDS = (
    "symbol",
    "side",
    "qty",
    "notional",
    "type",
    "time_in_force",
    "order_class",
    "limit_price",
    "stop_price",
    "trail_price",
    "trail_percent",
    "extended_hours",
    "client_order_id",
    "take_profit",
    "stop_loss",
    "position_intent",
    "legs",
)
VALID = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(["AAA", "BBB"]),
        "side": st.sampled_from(["buy", "sell"]),
        "qty": st.sampled_from(["1", 3, "2.5"]),
        "type": st.sampled_from(["market", "limit", "stop", "stop_limit", "trailing_stop"]),
        "time_in_force": st.sampled_from(["day", "gtc", "ioc", "fok", "opg", "cls"]),
    },
    optional={
        "order_class": st.sampled_from(["simple", "bracket", "oco", "oto"]),
        "limit_price": st.sampled_from(["90", 110.5]),
        "stop_price": st.sampled_from(["95", 105]),
        "take_profit": st.just({"limit_price": "110"}),
        "stop_loss": st.just({"stop_price": "90"}),
    },
)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """An order, some of its fields replaced by whatever JSON can hold."""
    body: dict[str, Any] = dict(draw(VALID))
    for name in draw(st.lists(st.sampled_from(FIELDS), max_size=4, unique=True)):
        body[name] = draw(ANYTHING | TRICKY)
    for leg in ("take_profit", "stop_loss"):
        if isinstance(body.get(leg), dict) and draw(st.booleans()):
            body[leg] = {"limit_price": draw(ANYTHING | TRICKY), "stop_price": draw(ANYTHING | TRICKY)}
    return body


@pytest.fixture(scope="module")
def loop_and_target() -> Iterator[tuple[asyncio.AbstractEventLoop, Target]]:
    """One server for all the examples of a property."""
    loop = asyncio.new_event_loop()
    manager = served()
    target = loop.run_until_complete(manager.__aenter__())
    yield loop, target
    loop.run_until_complete(manager.__aexit__(None, None, None))
    loop.close()


async def post(target: Target, path: str, body: Any, method: str = "POST") -> tuple[int, str]:
    async with aiohttp.request(method, target.url + path, data=json.dumps(body).encode(), headers=KEYS) as answer:
        return answer.status, await answer.text()


class TestFuzz:
    """Any JSON in any field: taken as it stands, or refused and nothing moved."""

    @given(body=bodies())
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_the_order_body(self, loop_and_target: tuple[asyncio.AbstractEventLoop, Target], body: dict[str, Any]) -> None:
        loop, target = loop_and_target
        before = target.truth()
        status, text = loop.run_until_complete(post(target, "/v2/orders", body))
        assert status in (200, 400, 403, 422)
        if status != 200:
            assert isinstance(shaped(status, text)["code"], int)
            assert target.truth() == before
            return
        taken = json.loads(text)
        order = target.exchange.order(taken["id"])
        assert (order.symbol, order.side, order.type) == (body["symbol"], body["side"], body.get("type") or "market")
        assert adds_up(target.exchange)
        for live in [order for order in target.exchange.book.live() if order.client_order_id not in ("entry", "resting")]:
            if live.is_live and live.root.client_order_id not in ("entry", "resting"):
                target.exchange.cancel(live.id)

    @given(
        body=st.dictionaries(
            st.sampled_from(["qty", "time_in_force", "limit_price", "stop_price", "trail", "client_order_id"]), ANYTHING | TRICKY
        )
    )
    @settings(max_examples=EXAMPLES // 2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_the_replace_body(self, loop_and_target: tuple[asyncio.AbstractEventLoop, Target], body: dict[str, Any]) -> None:
        loop, target = loop_and_target
        before = target.truth()
        order = next(order for order in target.exchange.book.live() if order.symbol == "BBB")
        status, text = loop.run_until_complete(post(target, f"/v2/orders/{order.id}", body, "PATCH"))
        if status == 200:
            assert json.loads(text)["replaces"] == order.id
            assert adds_up(target.exchange)
        else:
            shaped(status, text)
            assert target.truth() == before

    @given(
        path=st.sampled_from(
            [
                "/v2/orders",
                "/v2/account/activities",
                "/v2/account/portfolio/history",
                "/v2/calendar",
                "/v2/assets",
                "/v2/stocks/bars",
                "/v2/stocks/snapshots",
                "/v2/stocks/bars/latest",
                "/v2/stocks/trades",
                "/v2/stocks/quotes",
                "/v1/corporate-actions",
                "/v2/orders:by_client_order_id",
            ]
        ),
        query=st.dictionaries(
            st.sampled_from(
                [
                    "status",
                    "limit",
                    "after",
                    "until",
                    "direction",
                    "nested",
                    "symbols",
                    "side",
                    "start",
                    "end",
                    "page_token",
                    "page_size",
                    "timeframe",
                    "adjustment",
                    "sort",
                    "period",
                    "activity_types",
                    "date",
                    "asset_class",
                    "client_order_id",
                    "types",
                    "feed",
                    "asof",
                    "ids",
                    "category",
                    "intraday_reporting",
                    "cashflow_types",
                    "before_order_id",
                    "date_type",
                    "extended_hours",
                ]
            ),
            st.text(max_size=20)
            | st.integers().map(str)
            | st.datetimes().map(lambda at: at.isoformat() + "Z")
            | st.dates().map(str)
            | st.sampled_from(
                ["9" * 400, "0000-00-00", "9999-12-31T23:59:59Z", "2024-02-30", "1Min", "AAA,BBB", "QUFBfDE=", "-1", "1e9", "٣"]
            )
            | st.sampled_from(
                ["AAA", "AAA,ZZZ", "1Day", "1Week", "all", "ALL", "asc", "desc", "true", "1M", "5D", "continuous", "1H", "1D"]
            ),
            max_size=5,
        ),
    )
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_the_query(self, loop_and_target: tuple[asyncio.AbstractEventLoop, Target], path: str, query: dict[str, str]) -> None:
        loop, target = loop_and_target
        before = target.truth()

        async def ask() -> tuple[int, str]:
            async with aiohttp.request("GET", target.url + path, params=query, headers=KEYS) as answer:
                return answer.status, await answer.text()

        status, text = loop.run_until_complete(ask())
        assert status in (200, 400, 404, 422)
        if status != 200:
            shaped(status, text)
        assert target.truth() == before
