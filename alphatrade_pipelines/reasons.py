"""Beside the chain of an order: which features made the model say what it said, worked out again from the bundle that said it.

Reporting reads journals only and models know no journal; here, where settings know both, the signal meets its bundle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.tree import Tree

from alphatrade_pipelines.settings import Settings

if TYPE_CHECKING:
    from alphatrade_pipelines.models.explaining import Reasons
    from alphatrade_pipelines.reporting.explain import Explanation

TOP = 10


def reasons_of(settings: Settings, explanation: Explanation) -> Reasons | str:
    """The reasons behind the signal of an order, or why there are none to show.

    The bundle is the very one the order names, verified by its hash; a prediction that differs from the journal's is an error worth
    knowing, so it is told instead of reasons for another opinion.
    """
    from alphatrade_pipelines.models.bundle import Bundle
    from alphatrade_pipelines.models.errors import ModelError
    from alphatrade_pipelines.models.explaining import explain_signal

    signal, model = explanation.signal, explanation.model
    if signal is None or model is None or not signal.features:
        return "no prediction of a model caused this order"
    folder = settings.folders.bundles / model.bundle_hash[:16]
    try:
        bundle = Bundle.load(folder)
        if bundle.content_hash != model.bundle_hash:
            return f"the bundle at {folder} is {bundle.content_hash[:16]}, the order names {model.bundle_hash[:16]}"
        found = explain_signal(bundle, signal.features)
    except (FileNotFoundError, ModelError) as error:
        return str(error)
    said, again = (signal.probability, signal.lower, signal.upper), found.prediction[:3]
    if said != again:
        return f"the journal says probability, lower, upper {said}, the bundle {again}: not the prediction that was traded"
    return found


def render(reasons: Reasons | str) -> Tree:
    """A branch for a terminal: the strongest contributions, the rest in one line, and the sum."""
    if isinstance(reasons, str):
        return Tree(f"[cyan]why[/] {escape(reasons)}")
    shown, rest = reasons.contributions[:TOP], reasons.contributions[TOP:]
    tree = Tree(f"[cyan]why[/] log odds {reasons.margin:+.4f} before calibration, on balanced classes, are the sum of")
    tree.add(f"{reasons.expected:+.4f}  an average training row")
    for one in shown:
        tree.add(f"{one.log_odds:+.4f}  {escape(one.feature)} = {one.value:.6g}")
    if rest:
        tree.add(f"{sum(one.log_odds for one in rest):+.4f}  {len(rest)} other features")
    if reasons.prediction.extrapolated:
        tree.add("the score lies beyond all that calibration saw: the probability is that of the edge, the bounds are widened")
    return tree
