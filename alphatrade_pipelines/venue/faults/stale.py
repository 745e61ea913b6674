"""REST views that lag behind: account, positions and orders are answered from the state the exchange was in some venue seconds ago.

The exchange goes on as ever; its states are remembered while a lag is wanted, and a request is answered by its own handler looking at an
old one, so that a stale answer has exactly the shape of a fresh one.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from alphatrade_pipelines.venue.exchange.exchange import Exchange

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
VIEWS = {"account": "/v2/account", "positions": "/v2/positions", "orders": "/v2/orders"}
_STATE = ("book", "cash_account", "market", "equity_history")  # what these views are made of
_SHARED = ("tape", "config", "profile", "ledger", "levers", "matcher")  # never looked at through a view, or never changing


class StaleViews:
    """The recent past of one exchange. ``lag``: the longest lag wanted, in venue seconds; 0 = nothing is remembered."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._past: list[tuple[datetime, dict[str, Any]]] = []
        self.lag = 0.0

    def watch(self, lag: float) -> None:
        """Remember for views that lag up to ``lag`` venue seconds, from now on."""
        self.lag = lag
        if not lag:
            self._past.clear()
        elif not self._past:
            self.remember()

    def remember(self) -> None:
        """Keep the present state; of several at one venue time the last."""
        if not self.lag:
            return
        now = self._exchange.now
        if self._past and self._past[-1][0] == now:
            self._past.pop()
        self._past.append((now, self._copy()))
        while len(self._past) > 1 and self._past[1][0] <= now - timedelta(seconds=self.lag):
            self._past.pop(0)

    def _copy(self) -> dict[str, Any]:
        exchange = self._exchange
        kept = [exchange, *(value for name in _SHARED if (value := getattr(exchange, name, None)) is not None), *exchange.book.fills]
        kept += [order for order in exchange.book.orders.values() if not any(member.is_live for member in order.members)]
        memo = {id(value): value for value in kept}
        return {name: copy.deepcopy(getattr(exchange, name), memo) for name in _STATE}

    async def answer(self, request: web.Request, handler: Handler, lag: float) -> web.StreamResponse:
        """The answer of ``handler`` as it would have been ``lag`` venue seconds ago (or at the oldest state remembered)."""
        wanted = self._exchange.now - timedelta(seconds=lag)
        state = next((state for at, state in reversed(self._past) if at <= wanted), self._past[0][1])
        with self._as_it_was(state):
            return await handler(request)  # views do not wait for anything, so nobody else sees the old state

    @contextmanager
    def _as_it_was(self, state: dict[str, Any]) -> Iterator[None]:
        present = {name: getattr(self._exchange, name) for name in state}
        vars(self._exchange).update(state)
        try:
            yield
        finally:
            vars(self._exchange).update(present)


def view_of(request: web.Request) -> str | None:
    """Which view a request asks for, None when it is another one."""
    if request.method != "GET":
        return None
    path = request.path
    if path == VIEWS["account"]:
        return "account"
    for name in ("positions", "orders"):
        if path == VIEWS[name] or path.startswith((VIEWS[name] + "/", VIEWS[name] + ":")):
            return name
    return None
