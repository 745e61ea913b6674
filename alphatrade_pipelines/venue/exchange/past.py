"""The exchange as it was a while ago: what a view that lags behind shows, whether by the switch ``rest_lag_seconds`` or by a fault (F22).

The exchange goes on as ever. Its states are remembered while a lag is wanted, and whoever looks does so with an old one in its place, so
that a late answer is made like a fresh one.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alphatrade_pipelines.venue.exchange.exchange import Exchange

_STATE = ("book", "cash_account", "market", "equity_history")  # what account, positions and orders are made of
_SHARED = ("tape", "config", "profile", "ledger", "levers", "matcher")  # never looked at through a view, or never changing


class Past:
    """The recent past of one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._states: deque[tuple[datetime, dict[str, Any]]] = deque()

    def remember(self, lag: float) -> None:
        """Keep the present for views that lag up to ``lag`` venue seconds; 0 forgets everything. Of several states at one venue time the
        last counts, except that the oldest of all is kept: it is what those see who look further back."""
        if not lag:
            self._states.clear()
            return
        now, states = self._exchange.now, self._states
        if len(states) > 1 and states[-1][0] == now:
            states.pop()
        states.append((now, self._copy()))
        while len(states) > 1 and states[1][0] <= now - timedelta(seconds=lag):
            states.popleft()

    def _copy(self) -> dict[str, Any]:
        exchange = self._exchange
        kept = [exchange, *(getattr(exchange, name) for name in _SHARED), *exchange.book.fills]
        kept += [order for order in exchange.book.orders.values() if not any(member.is_live for member in order.members)]
        memo = {id(value): value for value in kept}
        return {name: copy.deepcopy(getattr(exchange, name), memo) for name in _STATE}

    @contextmanager
    def as_it_was(self, lag: float) -> Iterator[None]:
        """Inside, the exchange looks as it did ``lag`` venue seconds ago, or as far back as is remembered. For looking only, and without
        waiting for anything, so that nobody else meets the old state."""
        wanted = self._exchange.now - timedelta(seconds=lag)
        old = next((state for at, state in reversed(self._states) if at <= wanted), self._states[0][1] if self._states else {})
        present = {name: getattr(self._exchange, name) for name in old}
        vars(self._exchange).update(old)
        try:
            yield
        finally:
            vars(self._exchange).update(present)
