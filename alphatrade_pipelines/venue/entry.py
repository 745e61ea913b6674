"""The command line of the venue: ``alphatrade venue`` and ``python -m alphatrade_pipelines.venue``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from alphatrade_pipelines.venue.exchange.config import ExchangeConfig
from alphatrade_pipelines.venue.exchange.profiles import PROFILES
from alphatrade_pipelines.venue.run import BarsConfig, VenueConfig, parse_instant, serve
from alphatrade_pipelines.venue.server.app import SESSION_SECONDS, ServerConfig


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"expected a number, found {text!r}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alphatrade venue",
        description="A local exchange that speaks Alpaca's protocol. Point any Alpaca client at the address it prints; Ctrl-C ends it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    bars = parser.add_argument_group("bars")
    bars.add_argument("--bars", default="sample", help="sample, synthetic, or the path of a bar store or of bar files")
    bars.add_argument("--symbols", default="", help="comma-separated, all when empty")
    bars.add_argument("--timeframe", help="of synthetic bars or bar files: 1Day, 5Min ...")
    bars.add_argument("--layout", default="symbol_column", help="of bar files: symbol_column or file_per_symbol")
    bars.add_argument("--timezone", help="of naive time stamps in bar files")
    play = parser.add_argument_group("what is played")
    play.add_argument("--start", help="date or time with zone, outside session hours; before it is history (default: 60 sessions to play)")
    play.add_argument("--end", help="no session that opens later is played")
    play.add_argument("--cash", type=_amount, default="100000")
    play.add_argument("--multiplier", type=_amount, default="4", help="leverage of buying power; 1 = cash account")
    play.add_argument("--profile", default="pessimistic", choices=list(PROFILES))
    play.add_argument("--seed", type=int, default=0)
    play.add_argument("--account", help="account number")
    serving = parser.add_argument_group("server (127.0.0.1 only)")
    serving.add_argument("--port", type=int, default=0, help="0 picks a free one")
    pace = serving.add_mutually_exclusive_group()
    pace.add_argument("--speed", type=float, default=SESSION_SECONDS / 60, help="venue seconds a second; default: a session a minute")
    pace.add_argument("--step", action="store_true", help="time moves by POST /admin/step only")
    serving.add_argument("--key", default="sim")
    serving.add_argument("--secret", default="sim")
    serving.add_argument("--rate-limit", type=int, default=0, help="requests a minute, 0 = none")
    serving.add_argument("--idle-exit", type=float, help="end when abandoned for so many seconds")
    serving.add_argument("--state-file", type=Path, help="gets the address as JSON once the port is open")
    return parser


def config_of(args: Sequence[str]) -> VenueConfig:
    """The configuration a command line asks for.

    Raises:
        ValueError: a value that cannot be used. SystemExit: what argparse refuses.
    """
    given = _parser().parse_args(args)
    symbols = tuple(name.strip() for name in given.symbols.split(",") if name.strip())
    return VenueConfig(
        bars=BarsConfig(given.bars, symbols, given.timeframe, given.layout, given.timezone, given.seed),
        exchange=ExchangeConfig(
            start=parse_instant(given.start) if given.start else None,
            end=parse_instant(given.end) if given.end else None,
            cash=given.cash,
            profile=given.profile,
            seed=given.seed,
            account_number=given.account,
            multiplier=given.multiplier,
        ),
        server=ServerConfig(
            port=given.port,
            key=given.key,
            secret=given.secret,
            mode="stepped" if given.step else "accelerated",
            speed=given.speed,
            requests_per_minute=given.rate_limit,
            idle_exit_seconds=given.idle_exit,
        ),
        state_file=given.state_file,
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run a venue; 0 after a clean end, 2 with one clear line when it cannot start."""
    try:
        return serve(config_of(sys.argv[1:] if args is None else args))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"alphatrade venue: {error}\n")
        return 2
