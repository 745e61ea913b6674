"""What a person at a terminal reads when a venue has come up: where it is, what it plays, and code to paste that trades there."""

from __future__ import annotations

from alphatrade_pipelines.venue.server.app import VenueServer
from alphatrade_pipelines.venue.server.wire import NEW_YORK

_SHOWN = 8  # symbols
_SNIPPET = """\
from alpaca.data.live import StockDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

trading = TradingClient("{key}", "{secret}", url_override="{url}")
order = MarketOrderRequest(symbol="{symbol}", qty=10, side=OrderSide.BUY, time_in_force=TimeInForce.DAY)
print(trading.submit_order(order).status, trading.get_clock().timestamp)

stream = StockDataStream("{key}", "{secret}", url_override="{socket}/v2/iex")
async def show(trade): print(trade.timestamp, trade.symbol, trade.price)
stream.subscribe_trades(show, "{symbol}")
stream.run()
"""


def greeting(server: VenueServer, url: str, source: str) -> str:
    """Several lines of text. The page's address carries the admin token, as this is read by whoever started the venue."""
    tape, now = server.exchange.tape, server.exchange.now
    past = tape.first_session_after(now)
    names = ", ".join(tape.symbols[:_SHOWN]) + (f" and {len(tape.symbols) - _SHOWN} more" if len(tape.symbols) > _SHOWN else "")
    facts = {
        "address": f"{url}   (REST, /stream and /v2/iex; only this machine can reach it)",
        "keys": f"{server.config.key} / {_secret(server)}",
        "page": f"{url}/?token={server.admin_token}",
        "market": f"{names}; {tape.timeframe} bars ({source}); {past} sessions of history, {len(tape.sessions) - past} to play",
        "time": f"{now.astimezone(NEW_YORK):%A %Y-%m-%d %H:%M} in New York; {_pace(server)}",
    }
    if server.config.is_reachable_from_outside:
        facts["address"] = f"{url}   (REST, /stream and /v2/iex; other machines can reach it)"
    if server.config.scenario is not None:
        facts["faults"] = f"{server.config.scenario.name}: {len(server.config.scenario.faults)} armed"
    lines = [f"  {name:<9}{fact}" for name, fact in facts.items()]
    snippet = ["    " + line if line else "" for line in code(server, url).splitlines()]
    return "\n".join(
        ["An exchange that speaks Alpaca's protocol is up.", "", *lines, "", "  Trade there:", "", *snippet, "", "  Ctrl-C ends it."]
    )


def code(server: VenueServer, url: str) -> str:
    """Python that buys a share of the first symbol and watches its trades, with the unmodified alpaca-py."""
    socket = url.replace("http", "ws", 1)
    return _SNIPPET.format(key=server.config.key, secret=_secret(server), url=url, socket=socket, symbol=server.exchange.tape.symbols[0])


def _secret(server: VenueServer) -> str:
    """The well-known default; one that somebody chose is not repeated."""
    return "sim" if server.config.secret == "sim" else "YOUR SECRET"


def _pace(server: VenueServer) -> str:
    if (pace := server.config.pace) is None:
        return "it moves by POST /admin/step"
    return "the market opens within three seconds, and then time runs " + (
        "as on the wall" if pace.speed == 1 else f"{pace.speed:g} times as fast as on the wall"
    )
