"""The settings of a deployment, read once from the environment; for wiring, cli, dev and migrations alone.

An invalid value prevents the start, with one line that names the variable and the values it accepts.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Json, SecretStr, ValidationError, field_validator


class Environment(StrEnum):
    DEV = "dev"
    PRODUCTION = "production"


class EventBus(StrEnum):
    EVENTBRIDGE = "eventbridge"
    LOG = "log"
    NULL = "null"


class LogLevel(StrEnum):
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


_DATABASE_SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
_REDIS_SCHEMES = ("redis://", "rediss://")


class SettingsError(ValueError):
    """One line for the person who starts the program."""


class Settings(BaseModel):
    """Field names are the variables' names in lower case."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    host: str = "127.0.0.1"
    data_dir: Path = Path(".data")
    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    environment: Environment = Environment.DEV
    log_level: LogLevel = LogLevel.INFO
    signing_keys: Json[list[SecretStr]] | None = None
    event_bus: EventBus = EventBus.LOG
    event_bus_name: Annotated[str, Field(pattern=r"^[/.\-_:A-Za-z0-9]{1,1600}$")] = "default"
    event_bus_max_bytes: Annotated[int, Field(ge=1024, le=1_048_576)] = 262_144
    aws_endpoint_url: Annotated[str, Field(pattern=r"^https?://[^\s/]+")] | None = None
    aws_region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")] | None = None
    oidc_issuers: Json[list[dict[str, Any]]] = []
    dev_identity: bool | None = None
    hold_ttl_seconds: Annotated[int, Field(ge=1, le=3600)] = 600
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        known = {name.upper() for name in cls.model_fields}
        for name in environ:
            if name.startswith("HOLDFAST_"):
                raise SettingsError(f"{name} is not a setting of Holdfast; settings have no prefix")
        given = {
            name.lower(): environ[name] for name in sorted(known & environ.keys()) if environ[name]
        }
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            name = str(first["loc"][0]).upper()
            reason = first["msg"].removeprefix("Value error, ")
            raise SettingsError(f"{name}: {reason}") from None
        settings._check_combination()
        return settings

    @property
    def serves_dev_identity(self) -> bool:
        if self.dev_identity is None:
            return self.environment is Environment.DEV
        return self.dev_identity

    @field_validator("database_url")
    @classmethod
    def _name_driver(cls, url: SecretStr | None) -> SecretStr | None:
        """Accepts the usual form without a driver; asyncpg is the only driver."""
        if url is None:
            return None
        scheme, separator, rest = url.get_secret_value().partition("://")
        if not separator or scheme not in _DATABASE_SCHEMES:
            raise ValueError("must be a URL such as postgresql://user:password@host:5432/holdfast")
        return SecretStr(f"postgresql+asyncpg://{rest}")

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(_REDIS_SCHEMES):
            raise ValueError("must be a URL such as redis://:password@host:6379/0")
        return url

    @field_validator("log_level", mode="before")
    @classmethod
    def _ignore_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("signing_keys")
    @classmethod
    def _require_strong_keys(cls, keys: list[SecretStr] | None) -> list[SecretStr] | None:
        if keys is not None and (not keys or any(len(key.get_secret_value()) < 32 for key in keys)):
            raise ValueError("must be a JSON list of one or more strings of 32 characters or more")
        return keys

    def _check_combination(self) -> None:
        if self.environment is Environment.PRODUCTION:
            if self.dev_identity:
                raise SettingsError(
                    "DEV_IDENTITY: the development issuer must be off if ENVIRONMENT=production"
                )
            for name in ("database_url", "redis_url", "signing_keys"):
                if getattr(self, name) is None:
                    raise SettingsError(f"{name.upper()}: required if ENVIRONMENT=production")
