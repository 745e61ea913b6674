"""The tables of docs/venue.md that follow from the code. ``python -m tests.tools.venue_docs`` writes them anew; a test holds them equal."""

from __future__ import annotations

import re
from dataclasses import fields

from alphatrade_pipelines.venue import Fidelity
from alphatrade_pipelines.venue.faults.catalogue import FAILURES, KINDS, REQUIRED, Kind
from alphatrade_pipelines.venue.faults.scenario import load, shipped
from tests.tools.homes import ROOT

PAGE = ROOT / "docs" / "venue.md"


def tables() -> dict[str, str]:
    """Markdown by the name of its place."""
    return {"fidelity": fidelity_table(), "failures": failures_table(), "kinds": kinds_table()}


def fidelity_table() -> str:
    """Every switch with its default and what the class says of it."""
    said = dict(re.findall(r"``(\w+)``: (.*?)(?=\n\s+``\w+``: |\s*\Z)", Fidelity.__doc__ or "", re.DOTALL))
    rows = [(field.name, str(field.default).lower(), " ".join(said[field.name].replace("``", "`").split())) for field in fields(Fidelity)]
    return _table(("switch", "default", "what it decides, and where the default comes from"), [(f"`{n}`", f"`{d}`", t) for n, d, t in rows])


def failures_table() -> str:
    """F1 to F30 with their scenarios."""
    rows = []
    for number, (stem, failure) in enumerate(zip(shipped(), FAILURES.values(), strict=True), 1):
        kinds = ", ".join(dict.fromkeys(f"`{fault.kind.name}`" for fault in load(stem).faults))
        rows.append((f"F{number}", failure, f"`{stem.split('_')[0]}`", kinds))
    return _table(("", "failure", "scenario", "kinds of fault in it"), rows)


def kinds_table() -> str:
    """The catalogue."""
    return _table(
        ("kind", "rehearses", "what it does", "parameters = default", "counts"),
        [
            (f"`{kind.name}`", ", ".join(f"F{number}" for number in kind.rehearses), kind.does, _parameters(kind), kind.counts)
            for kind in KINDS.values()
        ],
    )


def _parameters(kind: Kind) -> str:
    def default(value: object) -> str:
        return "required" if value is REQUIRED else f"`{str(value).lower()}`" if value != "" else "empty"

    return "; ".join(f"`{name}` ({param.unit}) = {default(param.default)}" for name, param in kind.params.items())


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def written(text: str) -> str:
    """``text`` with its tables as they follow from the code. Raises ValueError when a place is missing."""
    for name, table in tables().items():
        place = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not place.search(text):
            raise ValueError(f"expected a place for the table {name!r}, found none")
        text = place.sub(lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
