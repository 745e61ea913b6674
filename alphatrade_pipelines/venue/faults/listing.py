"""``alphatrade venue faults``: what this venue can rehearse, and ``alphatrade venue faults f13``: the scenario file of one failure."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from alphatrade_pipelines.venue.faults.catalogue import FAILURES, KINDS, REQUIRED, Kind, Param
from alphatrade_pipelines.venue.faults.scenario import load, shipped

_USAGE = """usage: alphatrade venue faults [NAME]

Without NAME: a list. With one (f01 to f30, or a path): the scenario file, to copy and change.
"""
_COMMON = """Every fault also takes
  at           venue time from which it strikes: "session 2 10:30", "session 2 open", "+15m after open", "10m before close", "+30s", ISO
  after_count  the first opportunity that is struck (1)       every  then every so manieth
  times        strikes at most (1; unlimited with every, probability or for_seconds)
  probability  of each opportunity, drawn by counter from the seed
  symbol       only this one ("first": the first of the tape)   endpoint  "POST /v2/orders", only such requests
  for_seconds  length of its window: wall seconds for requests and connections, venue seconds for everything else
"""


def main(args: Sequence[str]) -> int:
    """Print the list or one scenario; 0, or ScenarioError (a ValueError) for a name that is none."""
    if any(arg in ("-h", "--help") for arg in args) or len(args) > 1:
        sys.stdout.write(_USAGE)
        return 0 if len(args) == 1 else 2
    if args:
        sys.stdout.write(load(args[0]).source)
        return 0
    console = Console()
    console.print(failures_table())
    console.print(kinds_table())
    console.out(_COMMON, highlight=False)
    return 0


def failures_table() -> Table:
    """F1 to F30: the failure, its scenario, the kinds that rehearse it."""
    table = Table(title="Failures and the scenario that rehearses each: alphatrade venue --faults f13", title_justify="left")
    for name in ("", "failure", "scenario", "kinds of fault in it"):
        table.add_column(name, overflow="fold")
    for number, (stem, failure) in enumerate(zip(shipped(), FAILURES.values(), strict=True), 1):
        kinds = dict.fromkeys(fault.kind.name for fault in load(stem).faults)
        table.add_row(f"F{number}", failure, stem, ", ".join(kinds))
    return table


def kinds_table() -> Table:
    """Every kind of fault: what it does and takes."""
    table = Table(title="Kinds of fault, for scenarios and POST /admin/faults", title_justify="left")
    for name in ("kind", "rehearses", "what it does", "parameters (unit) = default", "counts"):
        table.add_column(name, overflow="fold")
    for kind in KINDS.values():
        table.add_row(kind.name, ", ".join(f"F{n}" for n in kind.rehearses), kind.does, parameters(kind), kind.counts)
    return table


def parameters(kind: Kind) -> str:
    """The parameters of a kind, a line each."""
    own = [_parameter(name, param) for name, param in kind.params.items()]
    window = [f"for_seconds ({kind.window} seconds)"] if kind.lasting else []
    endpoint = [f'endpoint = "{kind.endpoint}"'] if kind.endpoint else []
    return "\n".join([*own, *endpoint, *window])


def _parameter(name: str, param: Param) -> str:
    default = "required" if param.default is REQUIRED else repr(param.default) if isinstance(param.default, str) else f"{param.default}"
    return f"{name} ({param.unit}) = {default}"
