"""The default feature sets. Longest warm-up of a symbol feature: 127 daily bars, 391 intraday bars; the regime needs 501 market bars."""

from __future__ import annotations

from alphatrade_pipelines.features.base import Feature
from alphatrade_pipelines.features.catalogue import (
    clock,
    fracdiff,
    microstructure,
    percentile,
    regime,
    relative,
    returns,
    reversion,
    volatility,
    volume,
)

VOLATILITY = "vol_ewma"
REGIME = "regime"


def default_features(is_daily: bool) -> dict[str, Feature]:
    """Configured features by name, in order of computation."""
    return _daily() if is_daily else _intraday()


def _daily() -> dict[str, Feature]:
    return {
        "return_1": returns.Momentum(1),
        "momentum_5": returns.Momentum(5),
        "momentum_21": returns.Momentum(21),
        "momentum_63": returns.Momentum(63),
        "momentum_126_21": returns.Momentum(126, skip=21),
        "gap": returns.Gap(),
        VOLATILITY: volatility.EwmaVolatility(32),
        "vol_parkinson_21": volatility.Parkinson(21),
        "vol_garman_klass_21": volatility.GarmanKlass(21),
        "vol_yang_zhang_21": volatility.YangZhang(21),
        "vol_ratio_5_63": volatility.VolatilityRatio(5, 63),
        "vol_percentile": percentile.TrainingPercentile(VOLATILITY),
        "fracdiff": fracdiff.FractionalDifference(),
        "amihud_21": microstructure.Amihud(21),
        "kyle_lambda_21": microstructure.KyleLambda(21),
        "roll_21": microstructure.Roll(21),
        "corwin_schultz_21": microstructure.CorwinSchultz(21),
        "vpin_21": microstructure.Vpin(21),
        "volume_z_21": volume.VolumeZScore(21),
        "rsi_14": reversion.Rsi(14),
        "price_z_21": reversion.PriceZScore(21),
        "close_location": reversion.CloseLocation(),
        "beta_63": relative.Beta(63),
        "relative_return_21": relative.RelativeReturn(21),
        "momentum_rank_63": relative.CrossRank("momentum_63"),
        REGIME: regime.Regime(),
    }


def _intraday() -> dict[str, Feature]:
    return {
        "return_1": returns.Momentum(1),
        "momentum_6": returns.Momentum(6),
        "momentum_26": returns.Momentum(26),
        "momentum_78": returns.Momentum(78),
        "momentum_390": returns.Momentum(390),
        "gap": returns.Gap(),
        VOLATILITY: volatility.EwmaVolatility(78),
        "vol_parkinson_39": volatility.Parkinson(39),
        "vol_garman_klass_39": volatility.GarmanKlass(39),
        "vol_yang_zhang_39": volatility.YangZhang(39),
        "vol_ratio_12_156": volatility.VolatilityRatio(12, 156),
        "vol_percentile": percentile.TrainingPercentile(VOLATILITY),
        "fracdiff": fracdiff.FractionalDifference(),
        "amihud_39": microstructure.Amihud(39),
        "kyle_lambda_39": microstructure.KyleLambda(39),
        "roll_39": microstructure.Roll(39),
        "corwin_schultz_39": microstructure.CorwinSchultz(39),
        "vpin_39": microstructure.Vpin(39),
        "volume_z_78": volume.VolumeZScore(78),
        "rsi_14": reversion.Rsi(14),
        "price_z_39": reversion.PriceZScore(39),
        "close_location": reversion.CloseLocation(),
        "beta_156": relative.Beta(156),
        "relative_return_39": relative.RelativeReturn(39),
        "momentum_rank_78": relative.CrossRank("momentum_78"),
        "session_fraction": clock.SessionFraction(),
        REGIME: regime.Regime(refit_every=500),
    }
