"""The tearsheet: self-contained, complete, safe against its own data, and readable when nothing was traded."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from alphatrade_pipelines.backtest.charts import Line, chart, nice_ticks, time_ticks
from alphatrade_pipelines.backtest.driver import run_backtest
from alphatrade_pipelines.backtest.report import tearsheet, write_tearsheet
from alphatrade_pipelines.backtest.result import BacktestResult
from alphatrade_pipelines.market import SampleSource, SessionCalendar
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.venue import ExchangeConfig
from tests.backtest.helpers import DAY, MODEL, rule_signals

CALENDAR = SessionCalendar()
VOID = {"meta", "line", "br"}


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return SampleSource().fetch(["AAPL", "IBM", "MSFT"], "2011-06-01", "2012-09-01")


def play(bars: pd.DataFrame, busy: bool) -> BacktestResult:
    start = CALENDAR.previous_close(pd.Timestamp("2012-02-15 12:00", tz="UTC"))
    signals = rule_signals(bars, CALENDAR) if busy else []
    return run_backtest(bars, signals, ExchangeConfig(start=start, seed=3), CoreConfig(), MODEL, DAY, CALENDAR)


class Balanced(HTMLParser):
    """Fails on a tag closed in the wrong place; gathers the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        return

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(html: str) -> str:
    parser = Balanced()
    parser.feed(html)
    assert parser.open == []
    return " ".join(parser.text)


def test_one_file_that_fetches_nothing_and_says_everything(bars: pd.DataFrame, tmp_path: Path) -> None:
    result = play(bars, busy=True)
    figures = result.performance(12)
    html = write_tearsheet(result, tmp_path / "deep" / "sheet.html", "Rule <b>one</b>", figures).read_text()
    assert not re.search(r"https?://|<script|@import|url\(|src=|href=", html)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["sheet.html"]
    text = read(html)
    assert "Rule <b>one</b>" in text
    expected = ["after 12 trials", f"{figures.total_return:.1%}", f"{figures.dsr:.2f}", f"Trades ({len(result.trades)})", result.digest]
    for part in [*expected, "12 distinct configurations", "buy and hold", "pessimistic", "Monthly net returns"]:
        assert part in text, part
    assert text.count("2012-02-1") > 0
    assert html.count("<tr>") > len(result.trades)


def test_monthly_returns_multiply_to_the_total(bars: pd.DataFrame) -> None:
    result = play(bars, busy=True)
    text = read(tearsheet(result, "t", result.performance()))
    year = re.search(r"2012 .*?(-?\d+\.\d)% +Statistics", text)
    assert year is not None
    assert float(year[1]) == pytest.approx(100 * (result.equity.iloc[-1] / result.equity.iloc[0] - 1), abs=0.051)


def test_nothing_traded_is_still_a_report(bars: pd.DataFrame) -> None:
    result = play(bars, busy=False)
    text = read(tearsheet(result, "idle", result.performance()))
    assert "Trades (0)" in text
    assert "n/a" in text
    assert "nan" not in text.lower().replace("finance", "")


def test_ticks() -> None:
    assert nice_ticks(95, 190) == [100, 120, 140, 160, 180]
    assert nice_ticks(-0.09, 0.0) == [-0.08, -0.06, -0.04, -0.02, 0.0]
    assert nice_ticks(5, 5) == [5]
    days = pd.bdate_range("2000-01-03", "2013-12-31", tz="UTC")
    assert len(time_ticks(days)) <= 14
    assert time_ticks(days)[0][1].isdigit()


def test_a_flat_line_and_a_long_one_can_be_drawn() -> None:
    days = pd.bdate_range("2000-01-03", periods=5000, tz="UTC")
    flat = chart([Line("flat", pd.Series(1.0, index=days), "equity")], 200, str, "flat")
    assert "NaN" not in flat
    assert "inf" not in flat
    assert len(flat) < 60_000
