"""docs/features.md, written from the declarations: ``python -m alphatrade_pipelines.features.document docs/features.md``."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from itertools import groupby
from pathlib import Path

from alphatrade_pipelines.features.base import REGISTRY, Feature
from alphatrade_pipelines.features.pipeline import FeaturePipeline

HEAD = """# Features

Generated from the declarations in `alphatrade_pipelines/features`; do not edit. After a change of a feature or of the default sets:
`python -m alphatrade_pipelines.features.document docs/features.md` (a test compares).

**Notation.** A feature of bar i reads bars up to i only. Prices are adjusted forward: total return from a symbol's first bar on, never
with a factor from the future. o, h, l, c: logs of open, high, low, close; c': the close before; C: close; V: volume in shares; D = C V;
r: log return of the closes; m: the market's, the equal-weighted mean over the symbols present. mean, sum, max, min, std (n - 1), var and
cov run over the last `window` bars, n of them; sizes of windows are in bars. Phi: standard normal distribution function.

**Warm-up.** The number of bars, the row's own included, before which a column is NaN: the symbol's own bars, or the market's for `regime`.
*Frozen* columns rest on statistics fitted on training bars only.

**NaN.** During the warm-up, where a window holds an undefined value, and where the quantity is undefined (no movement, no volume, no other
symbol). Never infinity, never a silent zero, nothing filled.
"""
TABLE = "| column | kind | parameters | warm-up | frozen | formula | reference |\n|---|---|---|---|---|---|---|\n"


def document() -> str:
    """The page as text."""
    parts = [HEAD]
    used: set[str] = set()
    for title, timeframe in (("Default set for daily bars", "1Day"), ("Default set for intraday bars", "5Min")):
        pipeline = FeaturePipeline.default(timeframe)
        used |= {feature.kind for feature in pipeline.features.values()}
        parts.append(f"## {title}: {len(pipeline.feature_names)} columns\n")
        for family, members in groupby(pipeline.features.items(), key=lambda item: _family(type(item[1]))):
            rows = [_row(column, feature, str(pipeline.warmup[column])) for name, feature in members for column in feature.columns(name)]
            parts.append(f"**{family}**\n\n{TABLE}" + "\n".join(rows) + "\n")
    parts.append("## In the catalogue, not in a default set\n")
    parts.append("| kind | parameters | formula | reference |\n|---|---|---|---|\n" + "\n".join(_spare(used)) + "\n")
    return "\n".join(parts)


def _row(column: str, feature: Feature, warmup: str) -> str:
    params = ", ".join(f"{name} {value}" for name, value in dataclasses.asdict(feature).items())
    cells = [f"`{column}`", feature.kind, params, warmup, "yes" if feature.frozen else "", feature.formula, feature.reference]
    return _cells(cells)


def _spare(used: set[str]) -> list[str]:
    """Kinds that stand in no default set."""
    ours = {kind: cls for kind, cls in REGISTRY.items() if cls.__module__.startswith(__package__ or "") and kind not in used}
    return [
        _cells([kind, ", ".join(field.name for field in dataclasses.fields(cls)), cls.formula, cls.reference])
        for kind, cls in sorted(ours.items())
    ]


def _cells(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _family(cls: type[Feature]) -> str:
    """First line of the family's docstring, without its full stop."""
    return (inspect.getdoc(inspect.getmodule(cls)) or cls.__module__).splitlines()[0].rstrip(".")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document(), encoding="utf-8")
