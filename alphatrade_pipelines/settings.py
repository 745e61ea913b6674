"""One typed settings tree for the whole house.

Sources, strongest first: arguments, environment (``ALPHATRADE_`` prefix, ``__`` between levels: ``ALPHATRADE_MARKET__SOURCE=alpaca``),
a TOML file (``ALPHATRADE_CONFIG``, else ``alphatrade.toml`` in the project root), defaults. Unknown names are refused: a typo cannot
pass silently. Rooms never import this module: ``bootstrap`` turns settings into the rooms' own arguments.
"""

from __future__ import annotations

import os
from datetime import date
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

Mode = Literal["sim", "paper", "live"]
Source = Literal["sample", "files", "alpaca", "synthetic"]
# read elsewhere: the TOML file to use, the folder of test data, whether a skip is a failure
_OTHER_ENVIRONMENT = {"CONFIG", "DATA", "CI"}
FillProfile = Literal["optimistic", "base", "pessimistic"]


def project_root() -> Path:
    """The checkout this package is installed from, or the working directory when it was installed as a wheel."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "pyproject.toml").exists() else Path.cwd()


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FilesSettings(_Section):
    """Where and how your own bar files are written; every convention is stated, none is guessed."""

    path: Path | None = Field(None, description="one file, or a folder of .csv .csv.gz .zip .parquet files")
    layout: Literal["file_per_symbol", "symbol_column"] = "file_per_symbol"
    columns: dict[str, str] = Field(default_factory=dict, description="house name -> name in the file, e.g. {close = 'Adj Close'}")
    header: tuple[str, ...] | None = Field(None, description="column names of CSV files without a header line")
    stamp: Literal["start", "end"] = Field("start", description="what an intraday time stamp marks")
    timezone: str | None = Field(None, description="IANA zone of naive time stamps; without it naive time stamps are refused")
    timestamp_format: str | None = Field(None, description="strptime format, or s, ms, us, ns for Unix time; None = ISO 8601")
    price_scale: float = Field(1.0, gt=0, description="file price units in a dollar: 10000 for the integers of LEAN")
    off_session: Literal["refuse", "drop"] = "refuse"


class SyntheticSettings(_Section):
    """The seeded artificial market; everything made of it is labelled synthetic."""

    seed: int = 7
    start: date = date(2024, 1, 2)
    end: date = date(2024, 12, 31)
    crisis_start: date | None = None
    crisis_end: date | None = None


class MarketSettings(_Section):
    """Which bars the house lives on."""

    source: Source = "sample"
    symbols: tuple[str, ...] = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
    timeframe: str = "1Day"
    history_start: date = date(2000, 1, 1)
    history_end: date | None = Field(None, description="last period to ingest; None = today (the sample ends in 2013 by itself)")
    largest_move: float = Field(
        0.6,
        gt=0,
        description="split-adjusted move from close to close beyond which bars are refused: raise it once you know yours are genuine",
    )
    files: FilesSettings = FilesSettings()
    synthetic: SyntheticSettings = SyntheticSettings()

    @field_validator("symbols")
    @classmethod
    def _symbols_are_unique(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        if not symbols or len(set(symbols)) != len(symbols):
            raise ValueError(f"expected at least one symbol, each once; found {list(symbols)}")
        return tuple(sorted(symbols))


class ModelSettings(_Section):
    """Labels, training and registry."""

    name: str = Field("alphatrade", description="registered model name in MLflow")
    stop_multiple: float = Field(2.0, gt=0, description="stop distance in units of per-bar volatility")
    target_multiple: float = Field(2.0, gt=0)
    horizon: int = Field(10, ge=1, description="bars, or sessions, until the vertical barrier")
    horizon_unit: Literal["bars", "sessions"] = "bars"
    label: Literal["bracket", "meta", "trend"] = Field("bracket", description="what the model predicts (docs/models.md)")
    primary: Literal["momentum", "reversion", "model"] = Field(
        "momentum", description="label meta: bet with the primary feature's sign, against it, or as a primary model says"
    )
    primary_feature: str = "momentum_21"
    primary_threshold: float = Field(0.0, ge=0, description="label meta: no bet where the feature is this near to 0, or the model to 1/2")
    primary_refit_sessions: int = Field(63, ge=1, description="primary model: sessions between refits on all outcomes known by then")
    primary_min_rows: int = Field(
        1000, ge=100, description="primary model: rows with a known outcome before its first fit; no bets earlier"
    )
    trend_shortest: int = Field(5, ge=3, description="label trend: closes on the shortest line")
    trend_longest: int = Field(20, ge=3)
    attribution: bool = Field(False, description="training weights: labels count more that earned their return alone")
    decay: Literal["none", "linear", "exponential"] = Field("none", description="training weights: older labels count less")
    decay_oldest: float = Field(0.5, gt=-1, le=1, description="linear decay: weight of the oldest")
    decay_half_life_days: float = Field(730.0, gt=0)
    cost_bps: float = Field(5.0, ge=0, description="cost of each of entry and exit that labels are net of")
    folds: int = Field(5, ge=2)
    inner_folds: int = Field(3, ge=2)
    embargo: int = Field(10, ge=0, description="decision times purged after each test fold")
    iterations: int = Field(200, ge=1)
    depth: int = Field(3, ge=1, le=10)
    learning_rate: float = Field(0.03, gt=0)
    tuning_trials: int = Field(0, ge=0, description="sets of the learner's knobs tried inside every fold; 0 = none, knobs as configured")
    tuning_search: Literal["sobol", "optuna"] = Field("sobol", description="optuna needs the extra `tuning`")
    seed: int = 7
    threads: int = Field(2, ge=1)
    monotone: dict[str, Literal[1, -1]] = Field(default_factory=dict, description="features the score may only rise (1) or fall (-1) with")
    calibration: Literal["auto", "beta", "platt", "isotonic", "identity"] = Field("auto", description="auto: by purged log loss")
    bounds: Literal["inductive", "cross"] = Field("inductive", description="Venn-Abers bounds from all rows, or averaged over folds")
    drop_empty_features: bool = Field(False, description="leave features without a single value out of the model, instead of refusing")
    max_age_days: int = Field(30, ge=1, description="staleness: days of usable data the champion may not know")
    drift_window: int = Field(60, ge=10, description="sessions whose features are compared with the training distribution")
    drift_share: float = Field(0.25, gt=0, le=1, description="share of drifted features that asks for a retrain")
    false_alarm_rate: float = Field(
        0.001, gt=0, lt=1, description="score test: a right model is called stale at most once in 1 / rate predictions, on average"
    )
    retrain_cooldown_hours: float = Field(24.0, ge=0, description="sensors ask for no other retrain so soon after one they asked for")

    @model_validator(mode="after")
    def _a_primary_model_proposes_meta_bets(self) -> ModelSettings:
        if self.primary == "model" and self.label != "meta":
            raise ValueError(f"primary is 'model' but label is {self.label!r}: set ALPHATRADE_MODEL__LABEL=meta, or primary to a rule")
        if self.primary == "model" and self.primary_threshold >= 0.5:
            raise ValueError(
                f"expected a primary_threshold below 0.5 for a model's score, found {self.primary_threshold}: nothing would bet"
            )
        return self


class ResearchSettings(_Section):
    """What is kept from training, and how the backtest fills."""

    holdout_sessions: int = Field(120, ge=0, description="last sessions kept from training: the simulated session trades them")
    profile: FillProfile = "pessimistic"
    cash: Decimal = Decimal("100000")
    seed: int = 7
    cpcv_groups: int = Field(6, ge=0, description="time groups of the combinatorial purged cross-validation; 0 = none (saves its fits)")
    cpcv_test_groups: int = Field(2, ge=1, description="groups each split tests: C(groups, test groups) splits are fitted")
    cpcv_refit_rows: int = Field(
        200_000, ge=0, description="above so many rows paths use the final feature statistics, not each split's own"
    )


class RiskSettings(_Section):
    """Sizing and limits; fractions of equity unless a unit is named."""

    kelly_fraction: float = Field(0.5, gt=0, le=1)
    position_cap: float = Field(0.15, gt=0, le=1)
    risk_per_trade: float = Field(0.01, gt=0, le=1, description="equity lost at the stop, at most")
    gross_cap: float = Field(1.0, gt=0)
    net_cap: float = Field(1.0, gt=0, description="longs minus shorts")
    symbol_cap: float = Field(0.25, gt=0, description="one symbol, held and on its way")
    order_value_cap: float = Field(1_000_000.0, gt=0, description="account currency, one order")
    order_qty_cap: int = Field(100_000, ge=1, description="shares, one order")
    max_positions: int = Field(10, ge=1)
    trades_per_day: int = Field(100, ge=1)
    consecutive_losses: int = Field(5, ge=1)
    daily_loss: float = Field(0.03, gt=0, le=1)


class ExecutionSettings(_Section):
    """How an order reaches the market: whole, or in slices (docs/execution.md). Daily bars always send whole orders."""

    algo: Literal["auto", "single", "twap", "vwap", "pov", "shortfall"] = Field("auto", description="auto: the pre-trade impact decides")
    impact: Literal["almgren_2005", "almgren_chriss", "review"] = "almgren_2005"
    risk_aversion: float = Field(0.1, ge=0, description="bps of expected cost paid to be rid of one bp of timing risk")
    max_participation: float = Field(0.10, gt=0, le=1, description="share of the market's volume, at most")
    saving_bps: float = Field(5.0, ge=0, description="auto slices only what this saves")
    slice_s: float = Field(300.0, gt=0, description="least seconds between slices; no shorter than the bars makes sense")
    max_slices: int = Field(12, ge=1)
    horizon_s: float = Field(1800.0, gt=0, description="of an algorithm chosen by name while the market's liquidity is not known")
    pov_rate: float = Field(0.05, gt=0, le=1, description="share of the volume followed by a POV chosen by name")
    passive: bool = Field(False, description="slices but the last rest at the last price")
    exits: bool = Field(True, description="work time exits too; stops, halts and flattening never wait")
    at_close: Literal["cancel", "resume"] = "cancel"


class LiveSettings(_Section):
    """The long-running session."""

    strategy: str = "main"
    reconcile_interval_s: float = Field(30.0, gt=0, description="venue time between reconciliations")
    heartbeat_timeout_s: float = Field(30.0, gt=0, description="wall time after which the watchdog calls a session dead")
    sim_pace_s: float = Field(1.0, ge=0, description="wall seconds per simulated session when launched from the UI; the demo uses 0")
    venue_idle_exit_s: float = Field(1800.0, gt=0, description="an abandoned simulated exchange ends itself")


class JournalSettings(_Section):
    """Where the journal of an account is kept: a file under home, or a Redis server for a fleet."""

    backend: Literal["sqlite", "redis"] = "sqlite"
    redis_url: SecretStr | None = Field(None, description="redis://… or rediss://…, with its password if it has one")
    lease_s: float = Field(5.0, ge=1, description="redis: seconds without an append until another writer may take over")
    reserve_mb: float = Field(4.0, ge=0, description="sqlite: room kept on the disk, so that exits can be journaled when it is full")

    @model_validator(mode="after")
    def _redis_has_a_url(self) -> JournalSettings:
        if self.backend == "redis" and self.redis_url is None:
            raise ValueError("journal.backend is 'redis' but journal.redis_url is not set: set ALPHATRADE_JOURNAL__REDIS_URL")
        return self


class AlpacaSettings(_Section):
    """Keys come from the environment and stay SecretStr; URLs are checked against the mode's allow-list."""

    key_id: SecretStr | None = None
    secret_key: SecretStr | None = None
    paper_url: str = "https://paper-api.alpaca.markets"
    live_url: str = "https://api.alpaca.markets"
    data_url: str = "https://data.alpaca.markets"
    feed: Literal["iex", "sip"] = "iex"


class ServersSettings(_Section):
    """Loopback ports of ``make ui`` and where MLflow and Dagster keep their records."""

    dagster_port: int = Field(3000, ge=1, le=65535)
    mlflow_port: int = Field(5000, ge=1, le=65535)
    mlflow_tracking_uri: str | None = Field(None, description="None = SQLite under home; a Postgres or http URL for a team")
    dagster_postgres_url: SecretStr | None = Field(None, description="None = SQLite under home")


class LogSettings(_Section):
    """structlog output."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    as_json: bool = False


class Settings(BaseSettings):
    """The root of the tree. ``home`` holds all state (bars, journals, MLflow, Dagster); moving it moves everything."""

    model_config = SettingsConfigDict(
        env_prefix="ALPHATRADE_", env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True
    )

    home: Path = Path(".alphatrade")
    mode: Mode = "sim"
    market: MarketSettings = MarketSettings()
    model: ModelSettings = ModelSettings()
    research: ResearchSettings = ResearchSettings()
    risk: RiskSettings = RiskSettings()
    execution: ExecutionSettings = ExecutionSettings()
    live: LiveSettings = LiveSettings()
    journal: JournalSettings = JournalSettings()
    alpaca: AlpacaSettings = AlpacaSettings()
    servers: ServersSettings = ServersSettings()
    log: LogSettings = LogSettings()

    @field_validator("home")
    @classmethod
    def _home_is_absolute(cls, home: Path) -> Path:
        return home if home.is_absolute() else (project_root() / home).resolve()

    @model_validator(mode="after")
    def _files_source_has_a_path(self) -> Settings:
        if self.market.source == "files" and self.market.files.path is None:
            raise ValueError("market.source is 'files' but market.files.path is not set: set ALPHATRADE_MARKET__FILES__PATH")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _config_file())

    @cached_property
    def folders(self) -> Folders:
        """Every path under ``home`` by name."""
        return Folders(self.home)

    @property
    def tracking_uri(self) -> str:
        """Where MLflow records runs and models."""
        return self.servers.mlflow_tracking_uri or f"sqlite:///{self.folders.mlflow / 'mlflow.db'}"


class Folders:
    """The layout of ``home``. Nothing else in the house spells these names."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.raw_bars = home / "data" / "raw_bars"
        self.bars = home / "data" / "bars"
        self.assets = home / "data" / "assets"
        self.bundles = home / "bundles"
        self.reports = home / "reports"
        self.mlflow = home / "mlflow"
        self.mlflow_artifacts = home / "mlflow" / "artifacts"
        self.dagster = home / "dagster"
        self.live = home / "live"
        self.journals = home / "journals"
        self.sim = home / "sim"

    def create(self) -> Folders:
        """Make every folder; safe to call again."""
        for path in vars(self).values():
            path.mkdir(parents=True, exist_ok=True)
        return self


def _config_file() -> Path | None:
    named = os.environ.get("ALPHATRADE_CONFIG")
    if named:
        if not Path(named).is_file():
            raise FileNotFoundError(f"ALPHATRADE_CONFIG names {named}, which is not a file")
        return Path(named)
    default = project_root() / "alphatrade.toml"
    return default if default.is_file() else None


def load_settings(**overrides: Any) -> Settings:
    """Read the tree from arguments, environment and TOML file.

    Raises ``pydantic.ValidationError`` naming the field at fault, ``ValueError`` for an environment name that no setting has.
    """
    known = {name.upper() for name in Settings.model_fields} | _OTHER_ENVIRONMENT
    for name in os.environ:
        if name.startswith("ALPHATRADE_"):
            head = name.removeprefix("ALPHATRADE_").split("__")[0].upper()
            if head not in known:
                raise ValueError(f"environment variable {name} matches no setting; expected ALPHATRADE_ and one of {sorted(known)}")
    return Settings(**overrides)
