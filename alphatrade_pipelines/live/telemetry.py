"""Prometheus metrics of a session, served on loopback."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from prometheus_client import CollectorRegistry, Gauge, start_http_server

from alphatrade_pipelines.live.status import SessionStatus

GAUGES = {
    "equity": "Account equity in account currency",
    "pnl": "Equity minus equity at the start of the journal",
    "orders": "Orders intended",
    "fills": "Executions",
    "rejected": "Orders refused or rejected by the broker",
    "denied": "Signals not traded",
    "unknown_outcomes": "Submissions the broker did not answer",
    "discrepancies": "Differences found by reconciliation",
    "seconds_unprotected": "Position-seconds without a live stop while the market was open",
    "reconnects": "Stream losses",
    "alerts": "Alerts raised",
    "streams_up": "1 when both streams are subscribed",
}


class Telemetry:
    """Gauges of one session in a registry of their own; ``observe`` is an observer."""

    def __init__(self, port: int | None) -> None:
        """``port`` None serves nothing; 0 takes any free one."""
        self.registry = CollectorRegistry()
        self._port = port
        self._server: Any = None
        self._gauges = {name: Gauge(f"alphatrade_{name}", text, registry=self.registry) for name, text in GAUGES.items()}
        self._positions = Gauge("alphatrade_position", "Shares held", ["symbol"], registry=self.registry)

    def __enter__(self) -> Self:
        if self._port is not None:
            self._server, _ = start_http_server(self._port, addr="127.0.0.1", registry=self.registry)
        return self

    @property
    def address(self) -> str | None:
        """Where the metrics are, if they are served."""
        return None if self._server is None else f"http://127.0.0.1:{self._server.server_port}/metrics"

    def observe(self, status: SessionStatus) -> None:
        """Take over the numbers of a status."""
        for name, gauge in self._gauges.items():
            gauge.set(float(getattr(status, name)))
        self._positions.clear()
        for symbol, qty in status.positions:
            self._positions.labels(symbol).set(float(qty))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
