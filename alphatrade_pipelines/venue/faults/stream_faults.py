"""What the streams say instead of the truth: messages lost, repeated, late, out of order, unreadable, wrong and corrected."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

from alphatrade_pipelines.venue.faults.armed import Armed

Json = dict[str, Any]
Stream = Literal["trade_updates", "data"]
# neither JSON nor msgpack: 0xc1 is the one byte msgpack never uses
UNREADABLE = b'\xc1{"stream":"trade_updates","data":{"event":"fi'


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message on its way to the clients. ``message`` decides who gets it (its type and symbol) and is sent, unless ``shown`` is sent
    in its place or the bytes of ``raw`` are. Only a ``counted`` one may be counted as sent: a client can receive it as a message."""

    message: Json
    shown: Json | None = None
    raw: bytes | None = None
    counted: bool = True


@dataclass(slots=True)
class _Held:
    """A message waiting until ``by`` later ones (bars: of its symbol and type) have gone by. ``before``: it goes in front of the last of
    them instead of after it."""

    outgoing: Outgoing
    like: Json | None
    by: int
    before: bool = False

    def counts(self, message: Json) -> bool:
        """Whether ``message`` is one of those it waits for."""
        return self.like is None or (self.like["T"], self.like["S"]) == (message["T"], message["S"])


class Distortion:
    """The lies of one stream. ``bar`` is the type of message that carries the tape's bars (``b``, or ``d`` of a daily tape); ``strikes``
    says whether an armed fault strikes now, and counts it."""

    def __init__(self, bar: str, strikes: Callable[[Armed, Json], bool]) -> None:
        self._bar = bar
        self._strikes = strikes
        self._held: list[_Held] = []

    @property
    def idle(self) -> bool:
        """True when nothing is held back."""
        return not self._held

    def apply(self, messages: Iterable[Json], armed: list[Armed]) -> list[Outgoing]:
        """The messages as they go out."""
        sent: list[Outgoing] = []
        for message in messages:
            sent += self._released(message, before=True)
            made = self._distorted(Outgoing(message), armed)
            sent += made
            if made:
                sent += self._released(message, before=False)
        return sent

    def _released(self, message: Json, *, before: bool) -> list[Outgoing]:
        free = []
        for held in list(self._held):
            if held.before is not before or not held.counts(message):
                continue
            held.by -= 1
            if held.by <= 0:
                self._held.remove(held)
                free.append(held.outgoing)
        return free

    def _distorted(self, outgoing: Outgoing, armed: list[Armed]) -> list[Outgoing]:
        queue = [outgoing]
        for fault in armed:
            if not queue:
                return []
            if applies(fault, outgoing.message, self._bar) and self._strikes(fault, outgoing.message):
                queue = [*self._change(fault, queue[0]), *queue[1:]]
        return queue

    def _change(self, armed: Armed, outgoing: Outgoing) -> list[Outgoing]:
        fault, message = armed.fault, outgoing.message
        match fault.kind.name:
            case "mute_trade_updates" | "mute_data":
                return []
            case "duplicate_trade_updates" if fault.number("later"):
                # one more than asked: the message itself goes by as well
                self._held += [_Held(outgoing, None, int(fault.number("later")) + 1) for _ in range(int(fault.number("copies")))]
                return [outgoing]
            case "duplicate_trade_updates" | "duplicate_bars":
                return [outgoing] * (1 + int(fault.number("copies")))
            case "reorder_trade_updates":
                self._held.append(_Held(outgoing, None, int(fault.number("by"))))
                return []
            case "late_bars":
                self._held.append(_Held(outgoing, message, int(fault.number("by"))))
                return []
            case "corrected_bars":
                right = outgoing if message["T"] == "d" else replace(outgoing, message={**message, "T": "u"})
                self._held.append(_Held(right, message, 1, before=True))
                return [replace(outgoing, message=_wrong_bar(message, fault.number("percent")))]
            case "corrected_trades":
                wrong = {**message, "p": round(message["p"] * (1 + fault.number("percent") / 100), 4)}
                return [replace(outgoing, message=wrong), replace(outgoing, message=_correction(wrong, message))]
        return [_garbled(outgoing, fault.text("how"))]


def applies(armed: Armed, message: Json, bar: str) -> bool:
    """Whether a message is of the kind this fault strikes, and of its symbol and event."""
    fault = armed.fault
    if fault.symbol is not None and symbol_of(message) != fault.symbol:
        return False
    if fault.kind.where == "trade_updates":
        return fault.text("event") in ("", message["event"])
    match fault.kind.name:
        case "late_bars" | "duplicate_bars" | "corrected_bars":
            return bool(message["T"] == bar)
        case "corrected_trades":
            return bool(message["T"] == "t")
    return True


def symbol_of(message: Json) -> str | None:
    """The symbol a trade update or a message of market data is about."""
    order = message.get("order")
    return order["symbol"] if isinstance(order, dict) else message.get("S")


def _garbled(outgoing: Outgoing, how: str) -> Outgoing:
    message = outgoing.message
    match how:
        case "null":
            return replace(outgoing, shown={"stream": "trade_updates", "data": None})
        case "unknown_status":
            order = {**message["order"], "status": "pending_review_by_compliance"}
            return replace(outgoing, shown={"stream": "trade_updates", "data": {**message, "order": order}})
        case "unknown_event":
            return replace(outgoing, shown={"stream": "trade_updates", "data": {**message, "event": "quantum_fill"}})
        case "unknown_type":
            return replace(outgoing, shown={**message, "T": "zz"}, counted=False)
    return replace(outgoing, raw=UNREADABLE, counted=False)


def _wrong_bar(message: Json, percent: float) -> Json:
    close = round(message["c"] * (1 + percent / 100), 4)
    return {**message, "c": close, "h": max(message["h"], close), "l": min(message["l"], close), "v": message["v"] // 2}


def _correction(wrong: Json, right: Json) -> Json:
    sides = {f"o{key}": wrong.get(key) for key in ("i", "p", "s", "c")} | {f"c{key}": right.get(key) for key in ("i", "p", "s", "c")}
    return {"T": "c", "S": right["S"], "x": right.get("x"), **sides, "t": right["t"] + timedelta(milliseconds=1), "z": right.get("z")}
