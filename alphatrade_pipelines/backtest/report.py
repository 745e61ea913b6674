"""The tearsheet: one HTML file that needs nothing else, not even a network, and says by which rules its numbers were made."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape
from pathlib import Path

import pandas as pd

from alphatrade_pipelines.backtest.charts import Line, chart
from alphatrade_pipelines.backtest.result import BacktestResult
from alphatrade_pipelines.backtest.statistics import Performance, drawdown
from alphatrade_pipelines.backtest.style import STYLE
from alphatrade_pipelines.reporting.trades import RoundTrip

MOST_NAMES = 20
CONVENTIONS = (
    "A signal is made from a bar only once that bar is complete, and trades at the next open or later; no bar decides what happens "
    "inside it.",
    "Fills, partial fills, rejections, spread, impact and fees come from the exchange model that also runs the paper venue; a resting stop "
    "fills at the open when the market gaps through it. Inside a bar the extreme that hurts the open position comes first (pessimistic "
    "profile).",
    "Equity is marked at session closes and is net of all costs. Buy and hold: equal money in every symbol that traded at the start, "
    "dividends reinvested, no costs.",
    "Sharpe ratio: daily net returns, no risk-free rate, times the square root of 252. PSR and DSR after Bailey and Lopez de Prado (2012, "
    "2014) with skewness and kurtosis; DSR is the probability that the true Sharpe ratio exceeds what the best of all trials would show "
    "by luck.",
    "Slippage is measured against the price of the decision (entries: the signal's close; stops and targets: their own price; other exits: "
    "the last price known), so the overnight gap is part of it.",
)


def write_tearsheet(result: BacktestResult, path: Path, title: str, figures: Performance) -> Path:
    """Write the report in one step (whole or not at all); returns ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(tearsheet(result, title, figures), encoding="utf-8")
    os.replace(temporary, path)
    return path


def tearsheet(result: BacktestResult, title: str, figures: Performance) -> str:
    """The report as HTML."""
    parts = [
        f"<h1>{escape(title)}</h1><p class='sub'>{escape(_subtitle(result))}</p>",
        _cards(result, figures),
        _equity(result),
        _section("Drawdown", chart([Line("drawdown", drawdown(result.equity), "dd", True)], 170, _percent, "Drawdown")),
        _section("Monthly net returns", _months(result.equity)),
        _pair(_section("Statistics", _statistics(result, figures)), _section("Costs and attribution", _costs(result))),
        _pair(_section("By symbol", _groups(result.trades, "symbol")), _section("By exit", _groups(result.trades, "exit_role"))),
        _section(f"Trades ({len(result.trades)})", _trades(result.trades)),
        _section("By which rules", _rules(result, figures)),
    ]
    head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width,initial-scale=1'><title>{escape(title)}</title>"
    return f"<!doctype html><html lang='en'><head>{head}<style>{STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>"


def _subtitle(result: BacktestResult) -> str:
    first, last = result.equity.index[0], result.equity.index[-1]
    names = ", ".join(result.symbols) if len(result.symbols) <= MOST_NAMES else f"{len(result.symbols)} symbols"
    return (
        f"{names} · {first:%Y-%m-%d} to {last:%Y-%m-%d} · {len(result.equity) - 1} sessions · "
        f"fill profile {result.profile} · seed {result.seed}"
    )


def _cards(result: BacktestResult, figures: Performance) -> str:
    cards = [
        _card("Net return", _percent(figures.total_return), f"buy and hold {_percent(result.hold_return)}", figures.total_return),
        _card("Sharpe ratio", _number(figures.sharpe), f"a year {_percent(figures.annual_return)}", figures.sharpe),
        _card("Deflated Sharpe", _number(figures.dsr), f"after {figures.trials} trial{'s' if figures.trials != 1 else ''}"),
        _card(
            "Maximum drawdown", _percent(figures.max_drawdown), f"{figures.longest_underwater} sessions under water", figures.max_drawdown
        ),
        _card("Round trips", str(len(result.trades)), f"{_percent(result.hit_rate)} made money"),
        _card("Cost", f"{result.costs.bps_of_traded:.1f} bps", f"of {result.costs.traded:,.0f} traded"),
        _card("Unprotected", f"{result.seconds_unprotected:.0f} s", "positions without a live stop"),
    ]
    return f"<div class='cards'>{''.join(cards)}</div>"


def _card(name: str, value: str, note: str, signed: float | None = None) -> str:
    tone = "" if signed is None or not math.isfinite(signed) else " class='up'" if signed > 0 else " class='down'" if signed < 0 else ""
    return f"<div class='card'><span>{escape(name)}</span><b{tone}>{escape(value)}</b><small>{escape(note)}</small></div>"


def _equity(result: BacktestResult) -> str:
    lines = [Line("buy and hold", result.benchmark, "hold"), Line("strategy, net", result.equity, "equity")]
    legend = (
        "<p class='legend'><i style='border-color:var(--blue)'></i>strategy, net of costs"
        "<i style='border-color:var(--grey);border-top-style:dashed'></i>equal-weight buy and hold</p>"
    )
    return _section("Equity", legend + chart(lines, 320, lambda value: f"{value:,.0f}", "Equity against buy and hold"))


def _months(equity: pd.Series) -> str:
    days = pd.DatetimeIndex(equity.index).tz_convert("America/New_York").tz_localize(None)
    daily = pd.Series(equity.to_numpy(), index=days)
    ends = daily.groupby([days.year, days.month]).last()
    before = ends.shift(1).fillna(daily.iloc[0])
    returns = ends / before - 1.0
    names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    rows = []
    for year, part in returns.groupby(level=0):
        months = dict(zip(map(int, part.index.get_level_values(1)), map(float, part), strict=True))
        total = math.prod(1 + value for value in months.values()) - 1
        cells = [_heat(months.get(month)) for month in range(1, 13)]
        rows.append(f"<tr><td>{year}</td>{''.join(cells)}<td><b>{_percent(total)}</b></td></tr>")
    head = "".join(f"<th>{name}</th>" for name in ["", *names, "Year"])
    return f"<div class='scroll'><table class='months'><tr>{head}</tr>{''.join(rows)}</table></div>"


def _heat(value: float | None) -> str:
    if value is None:
        return "<td></td>"
    strength = min(1.0, abs(value) / 0.05) * 0.45
    colour = "21,128,61" if value > 0 else "220,38,38"
    return f"<td style='background:rgba({colour},{strength:.2f})'>{_percent(value)}</td>"


def _statistics(result: BacktestResult, figures: Performance) -> str:
    record = figures.min_track_record
    rows = [
        ("Return a year", _percent(figures.annual_return)),
        ("Volatility a year", _percent(figures.annual_volatility)),
        ("Sortino ratio", _number(figures.sortino)),
        ("Calmar ratio", _number(figures.calmar)),
        ("Skewness, kurtosis", f"{_number(figures.skew)}, {_number(figures.kurtosis)}"),
        ("Probabilistic Sharpe (against 0)", _number(figures.psr)),
        ("Sharpe expected of the best by luck", _number(figures.deflated_benchmark)),
        ("Track record needed (95 %)", f"{record:,.0f} sessions" if math.isfinite(record) else "no length is enough"),
        ("Backtest length the trials ask for", f"{figures.min_backtest_years:.1f} years"),
        ("Time in the market", _percent(result.exposure)),
        ("Turnover a year", f"{_number(result.turnover)} x"),
    ]
    return _table(("", ""), rows)


def _costs(result: BacktestResult) -> str:
    costs, parts, summary = result.costs, result.attribution, result.summary
    rows = [
        ("Realised profit of round trips", _money(parts.realised)),
        ("of it: market moves", _money(parts.market)),
        ("of it: entry slippage", _money(parts.entry_slippage)),
        ("of it: exit slippage", _money(parts.exit_slippage)),
        ("Dividends received", _money(costs.dividends)),
        ("Fees paid", _money(-costs.fees)),
        ("Spread, impact, latency (inside the fills)", _money(-costs.market)),
        ("Orders, executions", f"{len(summary.orders)}, {len(summary.fills)}"),
        ("Rejected by the exchange", str(len(summary.rejected))),
        ("Signals not traded", str(summary.denied.total())),
        ("Discrepancies", str(summary.discrepancies.total())),
    ]
    return _table(("", "USD"), rows)


def _groups(trades: Sequence[RoundTrip], attribute: str) -> str:
    rows = []
    for name in sorted({str(getattr(trade, attribute)) for trade in trades}):
        own = [trade for trade in trades if str(getattr(trade, attribute)) == name]
        won = sum(trade.pnl > 0 for trade in own)
        rows.append((name, str(len(own)), _percent(won / len(own)), _money(sum((trade.pnl for trade in own), Decimal(0)))))
    return _table(("", "trades", "won", "profit"), rows)


def _trades(trades: Sequence[RoundTrip]) -> str:
    rows = [
        (
            trade.symbol,
            "long" if trade.side == "buy" else "short",
            f"{trade.qty:f}",
            f"{trade.entry_at:%Y-%m-%d %H:%M}",
            f"{trade.entry_price:.2f}",
            f"{trade.exit_at:%Y-%m-%d %H:%M}",
            f"{trade.exit_price:.2f}",
            trade.exit_role,
            _percent(float(trade.return_fraction)),
            _money(trade.pnl),
        )
        for trade in trades
    ]
    head = ("symbol", "side", "shares", "in (UTC)", "price", "out (UTC)", "price", "exit", "return", "profit")
    return f"<div class='scroll'>{_table(head, rows)}</div>"


def _rules(result: BacktestResult, figures: Performance) -> str:
    known = f"the variance of their Sharpe ratios per session is {figures.trial_variance:.3g}"
    trials = f"{figures.trials} distinct configuration{'s' if figures.trials != 1 else ''} had been tried on this data; {known}."
    digest = (
        f"Digest of all executions: <span class='mono'>{escape(result.digest)}</span>. Equal digests mean equal fills to the last digit."
    )
    items = [*(escape(text) for text in CONVENTIONS), escape(f"Deflation: {trials}"), digest]
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def _section(name: str, body: str) -> str:
    return f"<section><h2>{escape(name)}</h2>{body}</section>"


def _pair(left: str, right: str) -> str:
    return f"<div class='pair'>{left}{right}</div>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head) if any(head) else ""
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{f'<tr>{top}</tr>' if top else ''}{body}</table>"


def _percent(value: float) -> str:
    return f"{round(value, 3) + 0.0:.1%}" if math.isfinite(value) else "n/a"  # + 0.0: no minus before a rounded zero


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "n/a"


def _money(value: Decimal) -> str:
    return f"{value:,.2f}"
