"""Settings: the environment (``THAWLINE_*``) and ``.env``, read once per process."""

from __future__ import annotations

import ipaddress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from models_store.encoders import EncoderCatalogue, HubRevision, parse_hub_encoders
from models_store.errors import ConfigurationError
from models_store.placement import QueueName
from models_store.process import gpu_present
from models_store.signing import keys_of

MIB = 1024 * 1024


def default_home() -> Path:
    """The folder ``.thawline`` of the checkout, or of the user's home where the package is installed."""
    checkout = Path(__file__).resolve().parents[1]
    base = checkout if (checkout / "pyproject.toml").is_file() else Path.home()
    return base / ".thawline"


class Settings(BaseSettings):
    """Everything an operator can set. Each field is the environment variable ``THAWLINE_<NAME>``."""

    model_config = SettingsConfigDict(
        # An empty variable is an unset one: above all an empty API key must not count as a key.
        env_prefix="THAWLINE_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
    )

    home: Path = Field(default_factory=default_home, description="Folder of all state")
    host: str = Field("127.0.0.1", description="Address the API listens on")
    port: int = Field(8000, ge=0, le=65535, description="Port the API listens on")
    api_key: SecretStr | None = Field(None, description="Bearer token asked of every call; needed off loopback")
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        default_factory=list, description="Further values of the Host header to accept, separated by commas"
    )
    database_url: str | None = Field(None, description="SQLAlchemy URL; default: SQLite in the home")
    broker_url: str | None = Field(None, description="Celery broker; default: the embedded one of `thawline serve`")
    artifacts_url: str | None = Field(None, description="Where artifacts lie: a folder or file:// URL")
    encoders_dir: Path | None = Field(None, description="Folder of further base encoders, one sub-folder each")
    hub_encoders: Annotated[dict[str, HubRevision], NoDecode] = Field(
        default_factory=dict, description="Encoders to fetch from the hub when first used, as name=repository@commit"
    )

    webhook_secret: SecretStr | None = Field(None, description="What webhooks are signed with: whsec_ and base64")
    webhook_allow_private: bool = Field(False, description="Whether webhooks may go to addresses that are not public")

    max_upload_bytes: int = Field(256 * MIB, ge=1, description="Largest body of POST /datasets")
    validate_at_once_bytes: int = Field(
        8 * MIB, ge=0, description="Up to this size an upload is validated while its caller waits"
    )
    max_unpacked_bytes: int = Field(2048 * MIB, ge=1, description="Most that one uploaded file may unpack to")
    max_request_bytes: int = Field(8 * MIB, ge=1, description="Largest body of any other call")

    worker_concurrency: int = Field(1, ge=1, description="Jobs that one worker trains at a time")
    worker_queues: Annotated[list[QueueName], NoDecode] = Field(
        default_factory=list,
        description="Queues to take jobs from, `cpu`, `gpu` or both; default: what the device can do",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to train")
    training_threads: int = Field(0, ge=0, description="CPU threads of a training process; 0: torch's default")
    max_attempts: int = Field(3, ge=1, description="Attempts of a job before it is given up")
    lease_seconds: float = Field(60, gt=0, description="A worker silent for so long has lost its job")
    heartbeat_seconds: float = Field(10, gt=0, description="Interval between heartbeats")
    sweep_seconds: float = Field(15, gt=0, description="Interval between sweeps for lost jobs")
    checkpoint_seconds: float = Field(60, ge=0, description="Interval between the checkpoints of a training")
    stall_seconds: float = Field(900, gt=0, description="A training process without an event for so long is stopped")

    predict_runners: int = Field(0, ge=0, description="Inference threads per loaded model; 0: one per core")
    predict_device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where models answer")
    predict_batch_tokens: int = Field(
        0, ge=0, description="Padded tokens of one inference batch; 0: 512 on a CPU, 16,384 on a GPU"
    )
    predict_queue_items: int = Field(1024, ge=1, description="Texts waiting or running before a call is refused (429)")
    predict_timeout_seconds: float = Field(30, gt=0, description="Longest wait for one prediction call")
    drain_seconds: float = Field(1, ge=0, description="Between being told to stop and taking no more connections")
    preload_models: Annotated[list[str], NoDecode] = Field(
        default_factory=list, description="Models to have in memory from the start, separated by commas"
    )
    model_idle_seconds: float = Field(3600, gt=0, description="A model that nobody asks for so long is unloaded")
    model_cache_bytes: int = Field(2048 * MIB, ge=1, description="ONNX files kept loaded, least recently used out")

    shadow_examples: int = Field(
        0, ge=0, le=100, description="Disagreements of a shadow to store with the beginning of their texts"
    )

    otlp_endpoint: str | None = Field(
        None, description="Collector of OpenTelemetry traces (OTLP over HTTP), such as http://localhost:4318"
    )
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("allowed_hosts", "preload_models", "worker_queues", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("worker_queues", mode="before")
    @classmethod
    def _refuse_no_queue(cls, value: object) -> object:
        if isinstance(value, str) and not value.replace(",", " ").strip():  # it would silently mean the default
            raise ValueError("it names no queue; say cpu, gpu or cpu,gpu, or leave it out for what the device can do")
        return value

    @field_validator("hub_encoders", mode="before")
    @classmethod
    def _parse_hub_encoders(cls, value: object) -> object:
        return parse_hub_encoders(value) if isinstance(value, str) else value

    @field_validator("home", "encoders_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().resolve()

    @cached_property
    def resolved_database_url(self) -> str:
        """The database's URL; PostgreSQL always through psycopg 3.

        Raises:
            ConfigurationError: It is neither PostgreSQL's nor SQLite's.
        """
        if self.database_url is None:
            return f"sqlite:///{self.home / 'thawline.db'}"
        for scheme in ("postgres://", "postgresql://", "postgresql+psycopg://"):
            if self.database_url.startswith(scheme):
                return "postgresql+psycopg://" + self.database_url.removeprefix(scheme)
        if self.database_url.startswith("sqlite:///"):
            return self.database_url
        # The value is not repeated: it may hold a password.
        raise ConfigurationError("THAWLINE_DATABASE_URL must begin with postgresql:// or sqlite:///")

    @cached_property
    def artifacts_dir(self) -> Path:
        """The folder of the artifacts.

        Raises:
            ConfigurationError: The URL names a kind of store that this version does not have.
        """
        if self.artifacts_url is None:
            return self.home / "artifacts"
        path = self.artifacts_url.removeprefix("file://")
        if "://" in path:
            raise ConfigurationError(
                f"THAWLINE_ARTIFACTS_URL={self.artifacts_url!r}: only a folder or a file:// URL is supported"
            )
        return Path(path).expanduser().resolve()

    @cached_property
    def queues(self) -> list[QueueName]:
        """The queues that a worker takes jobs from, beside the jobs that any worker may have."""
        if self.worker_queues:
            return self.worker_queues
        has_gpu = self.device == "cuda" or (self.device == "auto" and gpu_present())
        return [QueueName.GPU, QueueName.CPU] if has_gpu else [QueueName.CPU]

    @cached_property
    def scratch_dir(self) -> Path:
        """The folder of temporary files: on the disk of the state, not in a /tmp that may be memory."""
        return self.home / "tmp"

    @cached_property
    def checkpoints_dir(self) -> Path:
        """The folder of the checkpoints of jobs that are not over, a folder each."""
        return self.home / "checkpoints"

    @cached_property
    def encoders(self) -> EncoderCatalogue:
        """The encoders that a job may name."""
        return EncoderCatalogue(self.encoders_dir or self.home / "encoders", self.home / "hub", self.hub_encoders)

    @cached_property
    def webhook_keys(self) -> tuple[bytes, ...]:
        """The keys that webhooks are signed with, each of them; empty where there are to be no webhooks.

        Raises:
            ConfigurationError: The secret is not one of Standard Webhooks.
        """
        return () if self.webhook_secret is None else keys_of(self.webhook_secret.get_secret_value())

    def check_consistency(self) -> None:
        """Refuse what no process should start with.

        Raises:
            ConfigurationError: A URL is of an unknown kind, the webhooks' secret is none, or a lease would run out
                between two heartbeats.
        """
        _ = self.artifacts_dir, self.resolved_database_url, self.webhook_keys
        if self.lease_seconds < 2 * self.heartbeat_seconds:
            raise ConfigurationError(
                f"THAWLINE_LEASE_SECONDS={self.lease_seconds:g} must be at least twice "
                f"THAWLINE_HEARTBEAT_SECONDS={self.heartbeat_seconds:g}: healthy workers would lose their jobs"
            )

    def check_worker(self) -> None:
        """Refuse what no worker should start with.

        Raises:
            ConfigurationError: It is to take jobs from a queue whose device this machine has not.
        """
        if QueueName.GPU in self.worker_queues and not gpu_present():
            raise ConfigurationError(
                "the worker is to take jobs of the queue gpu, and this machine has no GPU, or no driver for it: "
                "start it with `--queues cpu` (THAWLINE_WORKER_QUEUES=cpu), or where the GPU is"
            )

    def check_exposure(self) -> None:
        """Refuse to listen beyond this machine without a key.

        Raises:
            ConfigurationError: The host is not a loopback address and no API key is set.
        """
        if self.api_key is None and not is_loopback(self.host):
            raise ConfigurationError(
                f"THAWLINE_HOST={self.host} is reachable from other machines: set THAWLINE_API_KEY to a long random "
                "secret (for example `openssl rand -hex 32`), or listen on 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """Whether a host name or address stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process."""
    return Settings()
