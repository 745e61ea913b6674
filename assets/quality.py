"""Great Expectations suites for bars, run as blocking asset checks.

The library takes seconds to import, so it is loaded on first use and its context is kept for the process.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import dagster as dg
import pandas as pd

PRICES = ("open", "high", "low", "close")


@functools.cache
def _library() -> Any:
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    import great_expectations as gx

    return gx


@functools.cache
def _context() -> Any:
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = _library().get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    return context


def raw_bars_suite() -> list[Any]:
    """What the source must have delivered: every column, numbers, OHLC geometry, one bar per symbol and time."""
    e = _library().expectations
    columns = [*PRICES, "volume", "split", "dividend"]
    suite = [e.ExpectTableRowCountToBeBetween(min_value=1)]
    suite += [e.ExpectColumnToExist(column=name) for name in columns]
    suite += [e.ExpectColumnValuesToNotBeNull(column=name) for name in columns]
    suite += [e.ExpectColumnValuesToBeBetween(column=name, min_value=0, strict_min=True) for name in (*PRICES, "split")]
    suite += [e.ExpectColumnValuesToBeBetween(column=name, min_value=0) for name in ("volume", "dividend")]
    suite += [e.ExpectColumnPairValuesAToBeGreaterThanB(column_A="high", column_B=low, or_equal=True) for low in ("open", "close", "low")]
    suite += [e.ExpectColumnPairValuesAToBeGreaterThanB(column_A=high, column_B="low", or_equal=True) for high in ("open", "close")]
    suite.append(e.ExpectCompoundColumnsToBeUnique(column_list=["symbol", "timestamp"]))
    return suite


def bars_suite(symbols: tuple[str, ...], largest_move: float) -> list[Any]:
    """What research may rely on: the raw suite, the whole universe, no absurd split-adjusted move, trading on nearly every bar.

    A move beyond ``largest_move`` is a bad tick or an unrecorded split until a person says otherwise; AAPL's -52 % of 2000-09-29 was real,
    and so were 15 moves beyond 60 % of 301 large US stocks in 18 years.
    """
    e = _library().expectations
    return [
        *raw_bars_suite(),
        e.ExpectColumnDistinctValuesToEqualSet(column="symbol", value_set=list(symbols)),
        e.ExpectColumnValuesToBeBetween(column="move", min_value=-largest_move, max_value=largest_move),
        e.ExpectColumnValuesToBeBetween(column="volume", min_value=0, strict_min=True, mostly=0.99),
    ]


def with_moves(bars: pd.DataFrame) -> pd.DataFrame:
    """Bars as flat columns plus ``move``: the simple return from the previous close, split-adjusted (first bar of a symbol: null)."""
    flat = bars.reset_index()
    previous = flat.groupby("symbol", observed=True)["close"].shift()
    flat["move"] = flat["close"] * flat["split"] / previous - 1
    return flat


def validate(frame: pd.DataFrame, expectations: list[Any], name: str) -> dg.AssetCheckResult:
    """Run a suite over a flat frame; the result lists each failed expectation with its count of unexpected rows."""
    gx = _library()
    batch = _context().data_sources.add_or_update_pandas(name).add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
    outcome = batch.get_batch({"dataframe": frame}).validate(gx.ExpectationSuite(name=name, expectations=expectations))
    failed = [_row(result) for result in outcome.results if not result.success]
    table = (
        "\n".join(["| expectation | on | unexpected rows | examples |", "|---|---|---|---|", *failed])
        if failed
        else "every expectation met"
    )
    return dg.AssetCheckResult(
        passed=bool(outcome.success),
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{len(outcome.results) - len(failed)} of {len(outcome.results)} expectations met on {len(frame)} rows",
        metadata={"expectations": len(outcome.results), "rows": len(frame), "failed": dg.MetadataValue.md(table)},
    )


def _row(result: Any) -> str:
    config = result.expectation_config
    where = {k: v for k, v in config.kwargs.items() if k in {"column", "column_A", "column_B", "column_list"}}
    details = result.result or {}
    examples = str(details.get("partial_unexpected_list", details.get("observed_value", "")))[:120].replace("|", "/")
    return f"| {config.type} | {', '.join(map(str, where.values()))} | {details.get('unexpected_count', '')} | {examples} |"
