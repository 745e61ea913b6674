"""Labels: what really happened after a decision, and from when on it is known.

Every label is a frame on (symbol, timestamp of the decision bar) with ``t1``, the start of the first bar by which the label is known, which
is what purging relies on; a label whose window ends beyond the data does not exist.
"""

from alphatrade_pipelines.models.labels.barriers import BarrierConfig, HorizonUnit, barrier_prices
from alphatrade_pipelines.models.labels.brackets import EXITS, triple_barrier
from alphatrade_pipelines.models.labels.choice import LabelConfig, make_labels
from alphatrade_pipelines.models.labels.closes import CloseBarrierConfig, close_barrier
from alphatrade_pipelines.models.labels.direction import direction
from alphatrade_pipelines.models.labels.events import PRIMARY_SCORE, cusum_decisions, primary_side, score_side
from alphatrade_pipelines.models.labels.trend import TrendConfig, trend_scanning

__all__ = [
    "EXITS",
    "PRIMARY_SCORE",
    "BarrierConfig",
    "CloseBarrierConfig",
    "HorizonUnit",
    "LabelConfig",
    "TrendConfig",
    "barrier_prices",
    "close_barrier",
    "cusum_decisions",
    "direction",
    "make_labels",
    "primary_side",
    "score_side",
    "trend_scanning",
    "triple_barrier",
]
