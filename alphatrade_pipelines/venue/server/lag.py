"""Account and positions as REST shows them: now, or ``rest_lag_seconds`` of venue time ago (a fidelity switch, off by default)."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.views import VenueAccount, VenuePosition

_View = tuple[datetime, VenueAccount, list[VenuePosition]]


class LaggedViews:
    """``remember`` before and after everything that may change an account; it costs nothing while there is no lag."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._views: deque[_View] = deque()

    def remember(self) -> None:
        """Keep the present for those who will be shown it later."""
        lag = self._exchange.fidelity.rest_lag_seconds
        if not lag:
            self._views.clear()
            return
        exchange = self._exchange
        shown = exchange.now - timedelta(seconds=lag)
        self._views.append((exchange.now, exchange.account(), exchange.positions()))
        while len(self._views) > 1 and self._views[1][0] <= shown:
            self._views.popleft()

    def account(self) -> VenueAccount:
        """The account a client sees."""
        return self._shown()[1] if self._exchange.fidelity.rest_lag_seconds else self._exchange.account()

    def positions(self) -> list[VenuePosition]:
        """The positions a client sees."""
        return self._shown()[2] if self._exchange.fidelity.rest_lag_seconds else self._exchange.positions()

    def _shown(self) -> _View:
        self.remember()
        return self._views[0]
