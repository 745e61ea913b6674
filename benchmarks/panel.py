"""The whole retrain over a real daily panel: ``python -m benchmarks.panel`` trains on 301 symbols of the S&P 500, 1.18 M rows.

From raw bars to the promotion decision in a process of its own, in a home that is thrown away. Prints the seconds of each asset, the
peak memory of the process, and what came out, as it is: the model beside the base rate, the backtest beside equal-weight buy and hold.
An argument names the first day (default: all of the file). The panel is not part of the repo: ``ALPHATRADE_DATA`` says where it is.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from alphatrade_pipelines import servers
from alphatrade_pipelines.settings import load_settings

ROOT = Path(__file__).resolve().parents[1]
FIGURES = {
    "model_evaluation": ("rows", "n_effective", "base_rate", "log_loss", "base_log_loss", "brier", "auc", "ece", "ece_noise_95"),
    "backtest_report": (
        "research_sessions",
        "research_return",
        "research_hold_return",
        "research_sharpe",
        "research_hold_sharpe",
        "research_dsr",
        "research_trades",
        "unseen_sessions",
        "unseen_return",
        "unseen_hold_return",
        "unseen_sharpe",
        "unseen_hold_sharpe",
        "unseen_trades",
        "pbo",
    ),
}


def panel_file() -> Path:
    """Where the panel lies. Raises SystemExit without it."""
    file = Path(os.environ.get("ALPHATRADE_DATA") or ROOT.parent / "shared" / "data") / "sp500_daily" / "panel.parquet"
    if not file.exists():
        raise SystemExit("no daily panel found: set ALPHATRADE_DATA to the folder that holds sp500_daily/panel.parquet")
    return file


def settings_of(file: Path, first: str, home: str) -> dict[str, str]:
    """The environment of the run: the file as the source of market data, everything else as shipped."""
    days = pd.read_parquet(file, columns=["symbol", "date"])
    values = {
        "HOME": home,
        "MARKET__SOURCE": "files",
        "MARKET__FILES__PATH": str(file),
        "MARKET__FILES__LAYOUT": "symbol_column",
        "MARKET__FILES__COLUMNS": json.dumps({"timestamp": "date"}),
        "MARKET__FILES__OFF_SESSION": "drop",
        "MARKET__SYMBOLS": json.dumps(sorted(days["symbol"].unique().tolist())),
        # fifteen true moves of the panel are beyond the usual bound of 60 % a day
        "MARKET__LARGEST_MOVE": "0.9",
        "MARKET__HISTORY_START": first,
        "MARKET__HISTORY_END": str(days["date"].max().date()),
    }
    return {**os.environ, **{f"ALPHATRADE_{name}": value for name, value in values.items()}}


def seconds_of_steps(run_id: str) -> dict[str, float]:
    """How long each step of the run took, in order."""
    import dagster as dg

    with dg.DagsterInstance.from_config(str(servers.prepare_dagster_home(load_settings()))) as instance:
        found = {one.step_key: (one.end_time or 0.0) - (one.start_time or 0.0) for one in instance.get_run_step_stats(run_id)}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def run(first: str, home: str) -> tuple[list[tuple[str, float, str]], dict[str, Any]]:
    """Rows of time and memory, and the stored values of the assets. Raises CalledProcessError when the job fails."""
    environment, began = settings_of(panel_file(), first, home), time.perf_counter()
    command = [sys.executable, "-m", "tests.tools.run_job", home, "retrain"]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    whole = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    os.environ.update(environment)
    steps = seconds_of_steps(done.stdout.split()[-1])
    rows = [("raw bars to promotion and health, start-up included", whole / 60, "min"), ("peak memory", memory, "GiB")]
    rows += [(f"  {step}", seconds, "s") for step, seconds in steps.items() if seconds >= 1]
    folder = load_settings().folders.assets
    return rows, {name: json.loads((folder / f"{name}.json").read_text()) for name in (*FIGURES, "promotion")}


def main() -> None:
    """Run it once and print what it took and what it found."""
    console = Console(width=150)
    with tempfile.TemporaryDirectory() as home:
        rows, values = run(sys.argv[1] if len(sys.argv) > 1 else "1999-11-01", home)
    table = Table("what", "once", "unit")
    for what, value, unit in rows:
        table.add_row(what, f"{value:,.1f}", unit)
    console.print(table)
    found = Table("figure", "value")
    for name, wanted in FIGURES.items():
        for figure in wanted:
            if figure in values[name]:
                found.add_row(figure, f"{values[name][figure]:,.4f}")
    console.print(found)
    console.print(values["promotion"]["headline"])


if __name__ == "__main__":
    main()
