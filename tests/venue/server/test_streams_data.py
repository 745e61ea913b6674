"""``/v2/{feed}``: its protocol, its errors and every type of message, through the unmodified SDK and through raw sockets."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgpack
import pytest
from alpaca.data.models import Bar, Quote, Trade, TradeCancel, TradeCorrection, TradingStatus
from served_world import serving
from stream_world import AUTH, TEXT, Client, RawSocket, client, data_stream, feed, sdk, until
from venue_world import FLAT, PLAIN, D, daily_bars, exchange, intraday_bars

from alphatrade_pipelines.venue import BarTape, Exchange, ExchangeConfig
from alphatrade_pipelines.venue.exchange.levers import Notice
from alphatrade_pipelines.venue.exchange.quotes import Print
from alphatrade_pipelines.venue.server import market_messages as messages
from alphatrade_pipelines.venue.server.streams import StreamRules

NOW = datetime(2024, 3, 5, 14, 30, 0, 123456, tzinfo=UTC)
EMPTY: dict[str, list[str]] = {
    name: [] for name in ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections", "cancelErrors")
}


PRINT = Print("AAA", 101.25, 100, 101.2, 101.3, 300, 200, NOW, ("@",))


def world(days: int = 4, symbols: int = 2) -> Exchange:
    return exchange(daily_bars({name * 3: [FLAT] * days for name in "ABCDEFGH"[:symbols]}))


def intraday() -> Exchange:
    rows = [(100.0, 103.0, 99.0, 101.0, 100.0), (101.0, 105.0, 98.0, 104.0, 300.0), (104.0, 104.0, 104.0, 104.0, 0.0)]
    return Exchange(BarTape(intraday_bars("AAA", rows), "5Min"), ExchangeConfig(profile=PLAIN))


def one_of_each() -> list[dict[str, Any]]:
    bar = intraday().tape.series["AAA"].bar(0)
    trade = messages.trade_message(PRINT, 7)
    found = [
        messages.bar_message("b", bar, bar.start),
        messages.bar_message("u", bar, bar.start),
        messages.bar_message("d", bar, messages.midnight(bar.start)),
        trade,
        messages.quote_message(PRINT),
        messages.notice_message(Notice("status", "AAA", NOW, {"sc": "H", "sm": "Trading Halt", "rc": "T1", "rm": "News pending"})),
        messages.notice_message(Notice("luld", "AAA", NOW, {"u": D("110.5"), "d": D("90.5"), "i": "B"})),
        messages.correction_message(trade, NOW, price=101.0, size=50),
        messages.cancel_message(trade, NOW, "E"),
        messages.imbalance_message("AAA", 101.0, NOW),
    ]
    return [message for message in found if message is not None]


class TestSdk:
    """alpaca-py 0.44.0 as it is."""

    async def test_every_type_arrives_as_the_model_it_belongs_to(self) -> None:
        heard: dict[str, Any] = {}

        def handler(name: str) -> Any:
            async def keep(message: Any) -> None:
                heard[name] = message

            return keep

        async with serving(world()) as (server, at):
            stream = data_stream(at)
            stream.subscribe_bars(handler("bar"), "AAA")
            stream.subscribe_updated_bars(handler("updated"), "*")
            stream.subscribe_daily_bars(handler("daily"), "AAA")
            stream.subscribe_trades(handler("trade"), "AAA")
            stream.subscribe_quotes(handler("quote"), "AAA", "BBB")
            stream.subscribe_trading_statuses(handler("status"), "*")
            stream.register_trade_corrections(handler("correction"))
            stream.register_trade_cancels(handler("cancel"))
            stream._handlers["lulds"]["*"] = handler("luld")  # the SDK dispatches them but has no method to subscribe
            async with sdk(stream):
                await until(lambda: "lulds" in server.market_data.listened())
                server.market_data.publish(one_of_each())
                await until(lambda: len(heard) == 9)
            assert server.market_data.sent == 9  # all but the imbalance, for which nobody has asked
        kinds = (Bar, Bar, Bar, Trade, Quote, TradingStatus, TradeCorrection, TradeCancel, dict)
        names = ("bar", "updated", "daily", "trade", "quote", "status", "correction", "cancel", "luld")
        assert [type(heard[name]) for name in names] == list(kinds)
        assert heard["bar"].timestamp == datetime(2024, 3, 4, 14, 30, tzinfo=UTC)
        assert heard["daily"].timestamp == datetime(2024, 3, 4, 5, tzinfo=UTC)
        trade = heard["trade"]
        assert (trade.price, trade.size, trade.id, trade.timestamp, trade.exchange, trade.conditions) == (101.25, 100, 7, NOW, "V", ["@"])
        quote = heard["quote"]
        assert (quote.bid_price, quote.ask_price, quote.bid_size, quote.ask_size) == (101.2, 101.3, 300, 200)
        assert (heard["status"].status_code, heard["status"].reason_code) == ("H", "T1")
        correction = heard["correction"]
        assert (correction.original_id, correction.original_price, correction.corrected_price, correction.corrected_size) == (
            7,
            101.25,
            101,
            50,
        )
        assert (heard["cancel"].id, heard["cancel"].price, heard["cancel"].action) == (7, 101.25, "E")
        assert (heard["luld"]["u"], heard["luld"]["d"], heard["luld"]["t"]) == (110.5, 90.5, NOW)

    async def test_unsubscribing_while_it_runs(self) -> None:
        heard: list[str] = []

        async def keep(bar: Any) -> None:
            heard.append(bar.symbol)

        async with serving(world()) as (server, at):
            stream = data_stream(at)
            stream.subscribe_daily_bars(keep, "AAA", "BBB")
            async with sdk(stream):
                await until(lambda: server.market_data.listened())
                await server.step()
                await asyncio.to_thread(stream.unsubscribe_daily_bars, "AAA")
                (connection,) = server.market_data.connections
                await until(lambda: connection.symbols["dailyBars"] == {"BBB"})
                while (await server.step() or {})["kind"] != "session_close":
                    pass
                await until(lambda: heard == ["BBB"])

    async def test_thousands_of_symbols_come_as_a_fragmented_message(self) -> None:
        """alpaca-py splits a subscription into frames of 32 KB."""

        async def ignore(_bar: Any) -> None: ...

        names = [f"SYM{number:05d}" for number in range(20_000)]
        async with serving(world()) as (server, at):
            stream = data_stream(at)
            stream.subscribe_bars(ignore, *names)
            async with sdk(stream):
                await until(lambda: server.market_data.listened())
                (connection,) = server.market_data.connections
                assert connection.symbols["bars"] == set(names)

    async def test_insufficient_subscription_ends_the_stream_and_a_taken_slot_makes_it_try_again(self) -> None:
        async def ignore(_bar: Any) -> None: ...

        async with serving(world()) as (server, at):
            server.market_data.rules = StreamRules(feeds=frozenset({"sip"}))
            refused = data_stream(at)
            refused.subscribe_bars(ignore, "AAA")
            await asyncio.wait_for(refused._run_forever(), 10)  # the SDK gives up by itself
            server.market_data.rules = StreamRules()
            async with feed(at) as holder:
                late = data_stream(at)
                late._reconnect_min_backoff = 0.05
                late.subscribe_bars(ignore, "AAA")
                async with sdk(late):
                    await asyncio.sleep(0.3)
                    assert not server.market_data.listened()
                    await holder.ws.close()
                    await until(lambda: server.market_data.listened() == {"bars"})


class TestProtocol:
    @pytest.fixture(params=[False, True], ids=["json", "msgpack"])
    def packed(self, request: pytest.FixtureRequest) -> bool:
        return bool(request.param)

    async def test_each_error_code(self, packed: bool) -> None:
        async def code(one: Client, message: object) -> tuple[int, str]:
            (error,) = await one.ask(message)
            assert error["T"] == "error"
            return error["code"], error["msg"]

        async with serving(world(), symbol_limit=3) as (_, at), client(at, "/v2/sip", packed=packed) as one:
            assert await one.hear() == [{"T": "success", "msg": "connected"}]
            assert await code(one, {"action": "subscribe", "bars": ["AAA"]}) == (401, "not authenticated")
            assert await code(one, {**AUTH, "secret": "no"}) == (402, "auth failed")
            assert await one.ask(AUTH) == [{"T": "success", "msg": "authenticated"}]
            assert await code(one, AUTH) == (403, "already authenticated")
            for bad in (
                {"action": "dance"},
                {},
                [],
                "words",
                7,
                None,
                {"action": "subscribe", "bars": "AAA"},
                {"action": "subscribe", "bars": [1]},
            ):
                assert await code(one, bad) == (400, "invalid syntax")
            assert await code(one, {"action": "subscribe", "news": ["*"]}) == (410, "invalid subscribe action for this feed")
            assert await code(one, {"action": "subscribe", "trades": ["A", "B"], "quotes": ["A", "B"]}) == (405, "symbol limit exceeded")
            assert await code(one, {"action": "subscribe", "trades": ["*"]}) == (405, "symbol limit exceeded")
            (echo,) = await one.ask({"action": "subscribe", "trades": ["A", "B"], "quotes": ["A"], "bars": [f"S{n}" for n in range(99)]})
            assert (echo["trades"], echo["quotes"], len(echo["bars"])) == (["A", "B"], ["A"], 99)  # bars are not limited

    async def test_409_and_406_close_the_connection(self) -> None:
        async with serving(world()) as (server, at):
            server.market_data.rules = StreamRules(feeds=frozenset({"iex"}))
            async with client(at, "/v2/sip") as one:
                await one.hear()
                assert await one.ask(AUTH) == [{"T": "error", "code": 409, "msg": "insufficient subscription"}]
                assert await one.closed() == 1008
            async with feed(at, "/v2/iex"), client(at, "/v2/iex") as second:
                await second.hear()
                assert await second.ask(AUTH) == [{"T": "error", "code": 406, "msg": "connection limit exceeded"}]
                assert await second.closed() == 1008
            await until(lambda: not server.market_data.connections)
            async with feed(at, "/v2/iex"):  # the slot is free again
                pass

    async def test_the_connection_limit_counts_by_feed_and_can_be_turned_off(self) -> None:
        async with serving(world()) as (_, at), feed(at, "/v2/iex"), feed(at, "/v2/sip"):
            pass
        async with serving(world(), connection_limit=0) as (_, at), feed(at), feed(at), feed(at):
            pass

    async def test_404_after_the_time_to_authenticate_however_busy_the_client_is(self) -> None:
        async with serving(world()) as (server, at):
            server.market_data.rules = StreamRules(auth_seconds=0.3)
            async with client(at, "/v2/iex") as one:

                async def keep_talking() -> None:
                    with suppress(ConnectionError):
                        while True:
                            await one.say({"action": "subscribe", "bars": ["AAA"]})
                            await asyncio.sleep(0.02)

                talking = asyncio.create_task(keep_talking())
                heard = [json.loads(frame.data)[0].get("code") async for frame in one.ws]
                await talking
                assert heard[-1] == 404
                assert len(heard) > 3
                assert one.ws.close_code == 1008

    async def test_ten_seconds_are_the_default_to_authenticate(self) -> None:
        assert StreamRules().auth_seconds == 10.0

    async def test_subscriptions_are_echoed_whole_with_what_trades_imply(self, packed: bool) -> None:
        async with serving(world()) as (_, at), feed(at, packed=packed) as one:
            assert await one.ask({"action": "subscribe"}) == [{"T": "subscription", **EMPTY}]
            trades = {"trades": ["AAA"], "corrections": ["AAA"], "cancelErrors": ["AAA"]}
            assert await one.ask({"action": "subscribe", "trades": ["AAA"], "bars": ["BBB", "AAA"]}) == [
                {"T": "subscription", **EMPTY, **trades, "bars": ["AAA", "BBB"]}
            ]
            assert await one.ask({"action": "unsubscribe", "bars": ["BBB", "ZZZ"], "quotes": ["AAA"]}) == [
                {"T": "subscription", **EMPTY, **trades, "bars": ["AAA"]}
            ]
            assert await one.ask({"action": "unsubscribe", "trades": ["AAA"]}) == [{"T": "subscription", **EMPTY, "bars": ["AAA"]}]
            assert await one.ask({"action": "subscribe", "corrections": ["AAA"]}) == [{"T": "subscription", **EMPTY, "bars": ["AAA"]}]
            (auctions,) = await one.ask({"action": "subscribe", "imbalances": ["*"]})
            assert auctions["imbalances"] == ["*"]

    async def test_everyone_gets_what_it_asked_for_and_only_that_is_counted(self, packed: bool) -> None:
        async with serving(world()) as (server, at):
            server.market_data.publish(one_of_each())
            assert server.market_data.sent == 0
            async with (
                feed(at, "/v2/iex", packed=packed, trades=["AAA"]) as one,
                feed(at, "/v2/sip", quotes=["*"], statuses=["BBB"]) as other,
            ):
                server.market_data.publish(one_of_each())
                assert [message["T"] for message in await one.hear()] == ["t", "c", "x"]
                assert [message["T"] for message in await other.hear()] == ["q"]
            assert server.market_data.sent == 4

    async def test_times_are_timestamps_in_msgpack_and_rfc3339_in_json(self) -> None:
        async with (
            serving(world()) as (server, at),
            feed(at, "/v2/iex", packed=True, trades=["*"]) as one,
            feed(at, "/v2/sip", trades=["*"]) as other,
        ):
            server.market_data.publish(one_of_each())
            assert (await one.hear())[0]["t"] == NOW
            assert (await other.hear())[0]["t"] == "2024-03-05T14:30:00.123456Z"


class TestRawSockets:
    async def test_continuation_frames_and_pings_in_between(self) -> None:
        async with serving(world()) as (_, at):
            raw = await RawSocket.connect(at, "/v2/iex")
            assert await raw.message() == [{"T": "success", "msg": "connected"}]
            body = json.dumps(AUTH).encode()
            raw.send(TEXT, body[:5], final=False)
            raw.send(9, b"still there?")
            raw.send(0, body[5:20], final=False)
            raw.send(0, body[20:])
            assert await raw.frame() == (10, b"still there?")
            assert await raw.message() == [{"T": "success", "msg": "authenticated"}]
            await raw.close()

    @pytest.mark.parametrize(
        "garbage", [b"\xc1", b"\xff\xfe\x00", b"[" * 5000, b"", msgpack.packb({1: 2}), b"\x00" * 100_000], ids=range(6)
    )
    async def test_garbage_is_invalid_syntax_and_nothing_breaks(self, garbage: bytes) -> None:
        async with serving(world()) as (_, at):
            for packed in (False, True):
                async with client(at, "/v2/iex", packed=packed) as one:
                    await one.hear()
                    await one.ws.send_bytes(garbage)
                    (error,) = await one.hear()
                    assert (error["T"], error["code"]) == ("error", 400)

    async def test_a_message_beyond_a_megabyte_is_a_clean_close(self) -> None:
        async with serving(world()) as (server, at), client(at, "/v2/iex") as one:
            await one.hear()
            await one.ws.send_bytes(b"x" * (1 << 20) + b"x")
            assert await one.closed() == 1009
            await until(lambda: not server.market_data.connections)

    async def test_a_broken_frame_is_a_clean_close(self) -> None:
        async with serving(world()) as (server, at):
            raw = await RawSocket.connect(at, "/v2/iex")
            await raw.message()
            raw.writer.write(b"\xff\xff\xff\xff")  # reserved bits and an opcode that does not exist
            opcode, payload = await raw.frame()
            assert (opcode, payload[:2]) == (8, (1002).to_bytes(2, "big"))
            await raw.close()
            await until(lambda: not server.market_data.connections)

    async def test_a_plain_get_is_an_error_in_alpacas_shape(self) -> None:
        async with serving(world()) as (_, at):
            import aiohttp

            async with aiohttp.ClientSession() as session, session.get(f"http://{at}/v2/iex") as answer:
                assert answer.status == 400
                assert (await answer.json())["message"]


class TestTheTape:
    """What a step of the exchange says."""

    async def test_a_daily_tape_says_the_day_at_its_close(self) -> None:
        async with serving(world()) as (server, at), feed(at, bars=["*"], dailyBars=["*"]) as one:
            while (await server.step() or {})["kind"] != "session_close":
                pass
            assert [(bar["T"], bar["S"], bar["t"]) for bar in await one.hear()] == [
                ("d", "AAA", "2024-03-05T05:00:00Z"),
                ("d", "BBB", "2024-03-05T05:00:00Z"),
            ]
            assert server.market_data.sent == 2

    async def test_an_intraday_tape_says_each_bar_and_the_day_so_far(self) -> None:
        async with serving(intraday()) as (server, at), feed(at, bars=["AAA"], dailyBars=["AAA"]) as one:
            while await server.step() is not None:
                pass
            frames = [await one.hear() for _ in range(3)]
        assert [[message["T"] for message in frame] for frame in frames] == [["b", "d"]] * 3
        assert [frame[0]["t"] for frame in frames] == ["2024-03-04T14:30:00Z", "2024-03-04T14:35:00Z", "2024-03-04T14:40:00Z"]
        days = [[frame[1][key] for key in "tohlcv"] for frame in frames]
        assert days == [
            ["2024-03-04T05:00:00Z", 100.0, 103.0, 99.0, 101.0, 100],
            ["2024-03-04T05:00:00Z", 100.0, 105.0, 98.0, 104.0, 400],
            ["2024-03-04T05:00:00Z", 100.0, 105.0, 98.0, 104.0, 400],
        ]
        typical = [(103 + 99 + 101) / 3, (105 + 98 + 104) / 3]
        assert frames[1][1]["vw"] == pytest.approx((typical[0] * 100 + typical[1] * 300) / 400)

    async def test_auctions_have_their_price_for_those_who_ask(self) -> None:
        async with serving(world()) as (server, at), feed(at, imbalances=["AAA"]) as one:
            while (await server.step() or {})["kind"] != "session_close":
                pass
            heard = [(await one.hear())[0] for _ in range(2)]
            assert [(message["T"], message["p"], message["t"]) for message in heard] == [
                ("i", 100.0, "2024-03-05T14:30:00Z"),
                ("i", 100.0, "2024-03-05T21:00:00Z"),
            ]

    async def test_trades_and_quotes_add_up_to_the_bars(self) -> None:
        async with serving(intraday()) as (server, at), feed(at, packed=True, trades=["*"], quotes=["*"], bars=["*"]) as one:
            while await server.step() is not None:
                pass
            heard: list[dict[str, Any]] = []
            while len(heard) < server.market_data.sent:
                heard += await one.hear()
        trades, quotes, bars = ([message for message in heard if message["T"] == kind] for kind in "tqb")
        assert sum(trade["s"] for trade in trades) == sum(bar["v"] for bar in bars) == 400
        assert {trade["p"] for trade in trades} == {99.0, 98.0, 100.0, 101.0, 103.0, 104.0, 105.0}
        assert len(quotes) == len(trades)
        assert all(quote["bp"] <= trade["p"] <= quote["ap"] for quote, trade in zip(quotes, trades, strict=True))
        ids = [trade["i"] for trade in trades]
        assert ids == sorted(set(ids))
        assert [trade["t"] for trade in trades] == sorted(trade["t"] for trade in trades)
        assert trades[0]["c"] == ["@", "O"]  # the opening print

    async def test_halts_resumptions_and_price_bands(self) -> None:
        async with serving(world()) as (server, at), feed(at, statuses=["*"], lulds=["AAA"]) as one:
            await server.step()
            levers = server.exchange.levers
            levers.halt("AAA", "LUDP", "Volatility Trading Pause")
            levers.luld("BBB", D("11"), D("9"))  # nobody listens
            levers.luld("AAA", D("110.55"), D("90"))
            levers.resume("AAA")
            await server.publish()
            heard = await one.hear()
        assert [(m["T"], m.get("sc"), m.get("rc"), m.get("u"), m.get("d")) for m in heard] == [
            ("s", "H", "LUDP", None, None),
            ("l", None, None, 110.55, 90.0),
            ("s", "T", "LUDP", None, None),
        ]
        assert server.market_data.sent == 3
