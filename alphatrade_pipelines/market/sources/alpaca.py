"""Bars, splits and dividends from Alpaca's market data API, through the unmodified alpaca-py clients.

Raw prices (``adjustment=raw``); corporate actions are fetched beside them and stand on their ex-date bar. Paging is the SDK's. Only
complete bars are returned: a day in progress is not a bar yet. Capabilities: stocks, 1Min to 59Min, 1Hour to 6Hour, 1Day; feeds iex
(free), sip, delayed_sip. An action Alpaca announces after its ex-date bar was stored is not seen by an incremental ingest: fetch that
span again and append it with ``replace=True``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from pydantic import SecretStr

from alphatrade_pipelines.market.bars import as_utc, between, check_bars, check_numeric, empty_bars, to_bars
from alphatrade_pipelines.market.errors import BarDataError, MarketDataUnavailableError, check_symbols
from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.market.sources.alpaca_actions import actions_by_symbol, put_on_bars
from alphatrade_pipelines.market.sources.base import Bound
from alphatrade_pipelines.market.sources.polite import PoliteAdapter, TokenBucket
from alphatrade_pipelines.market.sources.secrecy import mask_answers, masked
from alphatrade_pipelines.market.timeframe import Timeframe

DATA_URL = "https://data.alpaca.markets"
_FEEDS = ("iex", "sip", "delayed_sip")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_FIELDS = {"t": "timestamp", "o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "vw": "vwap", "n": "trade_count"}
_SYMBOLS_PER_REQUEST = 100
_PROCESSING_DELAY = timedelta(days=120)


@dataclass(frozen=True, slots=True)
class AlpacaConfig:
    """Access to Alpaca's market data. Keys never appear in a repr or an error.

    ``url`` is the base without ``/v2``; https is required except on loopback, and an empty one is refused (the SDK would silently use
    its default). ``start`` is the default beginning of history. ``requests_per_minute`` is Alpaca's limit of 200 unless you bought more.
    """

    api_key: SecretStr
    secret_key: SecretStr
    symbols: tuple[str, ...]
    timeframe: Timeframe
    start: date = date(2016, 1, 4)
    feed: str = "iex"
    url: str = DATA_URL
    connect_timeout_seconds: float = 5.0
    read_timeout_seconds: float = 30.0
    attempts: int = 5
    requests_per_minute: float = 190.0
    burst: int = 10


class AlpacaSource:
    """Historical bars from Alpaca; see :class:`AlpacaConfig` and :class:`BarSource`. ``now`` tells which bars are complete."""

    name = "alpaca"
    synthetic = False

    def __init__(self, config: AlpacaConfig, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        _check_config(config)
        self.config = config
        self._now, self._calendar = now, SessionCalendar()
        self._bucket = TokenBucket(config.requests_per_minute, config.burst)

    @property
    def timeframe(self) -> Timeframe:
        return self.config.timeframe

    @property
    def symbols(self) -> tuple[str, ...]:
        return self.config.symbols

    def fetch(self, symbols: Sequence[str] | None = None, start: Bound = None, end: Bound = None) -> pd.DataFrame:
        """Complete raw bars starting in [start, end) with their splits and dividends. No bars in the window is an empty frame.

        Raises:
            BarDataError: a symbol not configured, or one Alpaca has never had a bar of; bars that fail the check.
            MarketDataUnavailableError: Alpaca did not answer, or refused the keys or the feed.
        """
        wanted = sorted(set(symbols if symbols is not None else self.config.symbols))
        check_symbols(wanted, self.config.symbols, where="AlpacaConfig.symbols")
        begin, now = as_utc(start if start is not None else self.config.start), as_utc(self._now())
        until = min(as_utc(end), now) if end is not None else now
        if begin >= until or not wanted:
            return empty_bars()
        frames = [
            self._fetch_chunk(wanted[i : i + _SYMBOLS_PER_REQUEST], begin, until) for i in range(0, len(wanted), _SYMBOLS_PER_REQUEST)
        ]
        bars = pd.concat([frame for frame in frames if not frame.empty] or [empty_bars()]).sort_index()
        bars = between(bars, begin, until)
        known = self._calendar.known_at(pd.DatetimeIndex(bars.index.get_level_values("timestamp")), self.timeframe)
        bars = bars[np.asarray(known <= now)]
        if not bars.empty:
            check_bars(bars, self.timeframe, where="alpaca")
        return bars

    def describe(self) -> dict[str, Any]:
        """Facts for people; no keys."""
        config = self.config
        return {
            "source": self.name,
            "synthetic": False,
            "timeframe": str(self.timeframe),
            "symbols": list(config.symbols),
            "feed": config.feed,
            "url": config.url,
            "start": config.start.isoformat(),
            "adjustment": "raw",
        }

    def _fetch_chunk(self, symbols: list[str], begin: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
        raw = self._ask(self._bars_client().get_stock_bars, self._bars_request(symbols, begin, until))
        for symbol in (s for s in symbols if not raw.get(s)):
            self._check_known(symbol)
        flat = pd.DataFrame([{"symbol": symbol} | row for symbol, rows in raw.items() for row in rows or []])
        if flat.empty:
            return empty_bars()
        flat = flat.rename(columns=_FIELDS).dropna(axis=1, how="all")
        for name in flat.columns.intersection(["open", "high", "low", "close", "volume"]):
            check_numeric(flat[name], name, where="alpaca")
        flat["timestamp"] = self._bar_starts(pd.DatetimeIndex(pd.to_datetime(flat["timestamp"], utc=True)))
        bars = to_bars(flat).sort_index()
        inside = self._calendar.in_session(pd.DatetimeIndex(bars.index.get_level_values("timestamp")), self.timeframe)
        # Alpaca's intraday bars include extended hours, which are no part of this product's sessions
        bars = bars if self.timeframe.is_daily else bars[inside]
        actions = self._ask(self._actions_client().get_corporate_actions, self._actions_request(symbols, begin, until))
        return put_on_bars(bars, actions_by_symbol(actions), begin, self.timeframe, self._calendar)

    def _bar_starts(self, stamps: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """Daily bars are stamped midnight New York on the wire; here they start at the session's open."""
        if not self.timeframe.is_daily:
            return stamps.as_unit("ns")
        dates = stamps.tz_convert("America/New_York").tz_localize(None).normalize()
        opens, found = self._calendar.opens_of(dates)
        if not found.all():
            bad = dates[~found][0].date()
            raise BarDataError("daily bars of XNYS sessions", f"one for {bad}", where="alpaca", fix="Check the exchange calendar.")
        return opens

    def _check_known(self, symbol: str) -> None:
        """No bars in a window may be a quiet week; no bar ever means there is no such symbol."""
        from alpaca.data.requests import StockLatestBarRequest

        request = StockLatestBarRequest(symbol_or_symbols=[symbol], feed=self.config.feed)
        latest = self._ask(self._bars_client().get_stock_latest_bar, request)
        if not latest or not latest.get(symbol):
            raise BarDataError(
                "a symbol Alpaca trades", f"unknown symbol {symbol!r}", where="alpaca", fix="Check its spelling and the feed."
            )

    def _bars_request(self, symbols: list[str], begin: pd.Timestamp, until: pd.Timestamp) -> Any:
        from alpaca.data.enums import Adjustment, DataFeed
        from alpaca.data.requests import StockBarsRequest
        from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

        frame = self.timeframe
        if frame.is_daily:
            # the wire stamps a day at midnight, before the open we know it by
            begin = begin.tz_convert("America/New_York").normalize()
            alpaca_frame = TimeFrame(1, TimeFrameUnit.Day)
        elif frame.minutes % 60 == 0:
            alpaca_frame = TimeFrame(frame.minutes // 60, TimeFrameUnit.Hour)
        else:
            alpaca_frame = TimeFrame(frame.minutes, TimeFrameUnit.Minute)
        return StockBarsRequest(
            symbol_or_symbols=symbols,
            timeframe=alpaca_frame,
            start=begin.to_pydatetime(warn=False),
            end=until.to_pydatetime(warn=False),
            adjustment=Adjustment.RAW,
            feed=DataFeed(self.config.feed),
        )

    def _actions_request(self, symbols: list[str], begin: pd.Timestamp, until: pd.Timestamp) -> Any:
        from alpaca.data.enums import CorporateActionsType as Kind
        from alpaca.data.requests import CorporateActionsRequest

        kinds = [Kind.FORWARD_SPLIT, Kind.REVERSE_SPLIT, Kind.STOCK_DIVIDEND, Kind.CASH_DIVIDEND]
        first, last = (moment.tz_convert("America/New_York").date() for moment in (begin, until))
        # the window is widened because Alpaca may date a dividend by its later processing day; ex-dates are matched to bars afterwards.
        # the SDK stops at `limit` items; None lets it page to the end
        return CorporateActionsRequest(symbols=symbols, types=kinds, start=first, end=last + _PROCESSING_DELAY, limit=None)

    def _bars_client(self) -> Any:
        from alpaca.data.historical import StockHistoricalDataClient

        return self._client(StockHistoricalDataClient)

    def _actions_client(self) -> Any:
        from alpaca.data.historical.corporate_actions import CorporateActionsClient

        return self._client(CorporateActionsClient)

    def _client(self, kind: Any) -> Any:
        config = self.config
        keys = {"api_key": config.api_key.get_secret_value(), "secret_key": config.secret_key.get_secret_value()}
        client = kind(**keys, raw_data=True, url_override=config.url)
        client._retry = 0  # the adapter retries, with jitter and the rate limit; twice would multiply
        adapter = PoliteAdapter(self._bucket, config.connect_timeout_seconds, config.read_timeout_seconds, config.attempts)
        client._session.mount("https://", adapter)
        client._session.mount("http://", adapter)
        mask_answers(client)
        return client

    def _ask(self, call: Callable[[Any], Any], request: Any) -> Any:
        import requests
        from alpaca.common.exceptions import APIError

        host = urlsplit(self.config.url).netloc
        try:
            return call(request)
        except APIError as error:
            status, text = error.status_code, str(error)[:200]
            if status in (400, 422) and "symbol" in text:
                raise BarDataError("symbols Alpaca knows", text, where="alpaca", fix="Check their spelling.") from error
            advice = {401: " Check the API keys.", 403: " Check the keys and whether they may use this feed."}.get(status or 0, "")
            raise MarketDataUnavailableError(f"{host} answered {status}: {text}.{advice}") from error
        except requests.exceptions.RequestException as error:
            # a key that cannot be a header (a line break behind it) would be shown by this very error
            said = masked(str(error), (self.config.api_key.get_secret_value(), self.config.secret_key.get_secret_value()))
            raise MarketDataUnavailableError(f"{host} did not answer: {type(error).__name__}: {said}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # the SDK met a body it does not know
            raise MarketDataUnavailableError(f"{host} did not answer as Alpaca's data API does: {error}") from error


def _check_config(config: AlpacaConfig) -> None:
    where = "AlpacaConfig"
    parts = urlsplit(config.url)
    if not config.url.strip() or not parts.hostname:
        raise BarDataError(f"a URL such as {DATA_URL}", repr(config.url), where=where, fix="An empty URL would silently mean Alpaca.")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise BarDataError("https (http on loopback only)", config.url, where=where, fix="Keys must not travel in the clear.")
    if parts.path not in ("", "/") or config.url.endswith("/"):
        raise BarDataError("a URL without a path or trailing slash", config.url, where=where, fix="The SDK appends /v2 itself.")
    if config.feed not in _FEEDS:
        raise BarDataError(f"a feed among {', '.join(_FEEDS)}", repr(config.feed), where=where)
    if config.timeframe.minutes > 59 and config.timeframe.minutes % 60 and not config.timeframe.is_daily:
        raise BarDataError("1Min to 59Min, whole hours or 1Day", str(config.timeframe), where=where)
    if not config.api_key.get_secret_value() or not config.secret_key.get_secret_value():
        raise BarDataError("an API key and a secret key", "an empty one", where=where, fix="Set both in the environment.")
    if not config.symbols:
        raise BarDataError("at least one symbol", "none", where=where)
