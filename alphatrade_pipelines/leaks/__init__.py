"""Does anything know the future? Probes for features, events, labels, weights, folds and predictions, and how good the probes are.

>>> probe_causal(lambda world: fitted.transform(world.bars), World(bars)).clean
>>> mutation_score([build_arena("mine", bars)]).passed

What each probe can and cannot see: docs/leaks.md.
"""

from alphatrade_pipelines.leaks.causal import probe_causal
from alphatrade_pipelines.leaks.data import check_columns, check_universe
from alphatrade_pipelines.leaks.errors import LeakProbeError
from alphatrade_pipelines.leaks.folds import check_folds
from alphatrade_pipelines.leaks.isolation import probe_fit, probe_learner
from alphatrade_pipelines.leaks.outcomes import probe_labels
from alphatrade_pipelines.leaks.report import Alarm, Report, merged
from alphatrade_pipelines.leaks.world import World

__all__ = [
    "Alarm",
    "LeakProbeError",
    "Report",
    "World",
    "check_columns",
    "check_folds",
    "check_universe",
    "merged",
    "probe_causal",
    "probe_fit",
    "probe_labels",
    "probe_learner",
]
