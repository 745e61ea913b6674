"""``/v2/{feed}``: market data. msgpack both ways for clients that say so in Content-Type (alpaca-py does), JSON text for the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alphatrade_pipelines.venue.faults.stream_faults import Outgoing, Stream
from alphatrade_pipelines.venue.server.connection import Connection, Encoding, Frame, encode
from alphatrade_pipelines.venue.server.streams import POLICY, Hub
from alphatrade_pipelines.venue.server.wire import Json, stamp

CHANNEL_OF = {
    "t": "trades",
    "q": "quotes",
    "b": "bars",
    "u": "updatedBars",
    "d": "dailyBars",
    "s": "statuses",
    "l": "lulds",
    "c": "corrections",
    "x": "cancelErrors",
    "i": "imbalances",
}
_IMPLIED = ("corrections", "cancelErrors")  # come with trades and cannot be asked for on their own
_LIMITED = ("trades", "quotes")


class MarketData(Hub):
    """All data feeds; they carry the same tape."""

    name: Stream = "data"
    json_encoding: Encoding = "text"

    def error(self, code: int, text: str) -> object:
        return [{"T": "error", "code": code, "msg": text}]

    def welcome(self, connection: Connection) -> None:
        self.say(connection, [{"T": "success", "msg": "connected"}])

    def answer(self, connection: Connection, message: Mapping[str, Any] | None) -> None:
        """auth, subscribe, unsubscribe."""
        action = message.get("action") if message else None
        if message is None or action not in ("auth", "subscribe", "unsubscribe"):
            self.say(connection, self.error(400, "invalid syntax"))
        elif action == "auth":
            self._authenticate(connection, message)
        elif not connection.authenticated:
            self.say(connection, self.error(401, "not authenticated"))
        else:
            self._subscribe(connection, message, action == "subscribe")

    # --- who -----------------------------------------------------------------------------------------------------------------------

    def _authenticate(self, connection: Connection, message: Mapping[str, Any]) -> None:
        feed = connection.endpoint.rsplit("/", 1)[-1]
        if connection.authenticated:
            self.say(connection, self.error(403, "already authenticated"))
        elif not self.authorized(message.get("key"), message.get("secret")):
            self.say(connection, self.error(402, "auth failed"))
        elif self.rules.feeds and feed not in self.rules.feeds:
            self.dismiss(connection, POLICY, self.error(409, "insufficient subscription"))
        elif self.full(connection, self.rules.connection_limit):
            self.dismiss(connection, POLICY, self.error(406, "connection limit exceeded"))
        else:
            connection.authenticated = True
            self.say(connection, [{"T": "success", "msg": "authenticated"}])

    # --- what ----------------------------------------------------------------------------------------------------------------------

    def _subscribe(self, connection: Connection, message: Mapping[str, Any], add: bool) -> None:
        asked = {channel: names for channel, names in message.items() if channel != "action"}
        if not set(asked) <= set(CHANNEL_OF.values()):
            self.say(connection, self.error(410, "invalid subscribe action for this feed"))
            return
        if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in asked.values()):
            self.say(connection, self.error(400, "invalid syntax"))
            return
        wanted = {channel: set(names) for channel, names in connection.symbols.items()}
        for channel, names in asked.items():
            if channel not in _IMPLIED:
                current = wanted.setdefault(channel, set())
                wanted[channel] = current | set(names) if add else current - set(names)
        if add and self._too_many(wanted):
            self.say(connection, self.error(405, "symbol limit exceeded"))
            return
        for channel in _IMPLIED:
            wanted[channel] = set(wanted.get("trades", ()))
        connection.symbols = wanted
        self.say(connection, [_subscription(connection)])

    def _too_many(self, wanted: Mapping[str, set[str]]) -> bool:
        named = [name for channel in _LIMITED for name in wanted.get(channel, ())]
        return bool(self.rules.symbol_limit) and ("*" in named or len(named) > self.rules.symbol_limit)

    def listened(self) -> set[str]:
        """Channels somebody has subscribed to: nothing else needs to be computed."""
        return {channel for connection in self.connections for channel, names in connection.symbols.items() if names}

    # --- delivery ------------------------------------------------------------------------------------------------------------------

    def publish(self, messages: Sequence[Json]) -> None:
        """Queue market data for whoever subscribed, one frame a client. Each message's ``t`` is an aware datetime."""
        for together in _frames(self.faults.outgoing(self.name, messages)):
            self._publish(together)

    def _publish(self, together: Sequence[Outgoing]) -> None:
        reached: set[int] = set()
        frames: dict[tuple[str, tuple[int, ...]], Frame] = {}
        for connection in [connection for connection in self.connections if connection.symbols]:
            wanted = tuple(number for number, outgoing in enumerate(together) if _wants(connection, outgoing.message))
            if not wanted:
                continue
            kind = (connection.encoding, wanted)
            if kind not in frames:
                frames[kind] = _frame([together[number] for number in wanted], connection.encoding)
            if self.put(connection, frames[kind]):
                reached.update(number for number in wanted if together[number].counted)
        self.sent += len(reached)


def _frames(messages: Sequence[Outgoing]) -> list[list[Outgoing]]:
    """What travels together: everything, but for an unreadable one, which must not take its neighbours with it."""
    parts: list[list[Outgoing]] = []
    alone = True
    for outgoing in messages:
        if alone or outgoing.raw is not None:
            parts.append([])
        parts[-1].append(outgoing)
        alone = outgoing.raw is not None
    return parts


def _frame(together: Sequence[Outgoing], encoding: Encoding) -> Frame:
    if together[0].raw is not None:
        return together[0].raw
    shown = [outgoing.shown or outgoing.message for outgoing in together]
    return encode(shown if encoding == "packed" else [_as_json(message) for message in shown], encoding)


def _subscription(connection: Connection) -> Json:
    """The echo of all that a client listens to; ``imbalances`` only for those who asked, as most clients do not know it."""
    listed = {channel: sorted(connection.symbols.get(channel, ())) for channel in CHANNEL_OF.values()}
    if not listed["imbalances"]:
        del listed["imbalances"]
    return {"T": "subscription", **listed}


def _wants(connection: Connection, message: Json) -> bool:
    listening = connection.symbols.get(CHANNEL_OF[message["T"]], set())
    return message["S"] in listening or "*" in listening


def _as_json(message: Json) -> Json:
    return {**message, "t": stamp(message["t"])}
