"""What a deployment may say, and the one line it hears when it says something else."""

import pytest

from app.settings import Environment, EventBus, LogLevel, Settings, SettingsError

SECRET = "hunter2-" * 5
PRODUCTION = {
    "ENVIRONMENT": "production",
    "DATABASE_URL": "postgresql://holdfast@db/holdfast",
    "REDIS_URL": "rediss://redis/0",
    "SIGNING_KEYS": f'["{SECRET}"]',
}


def test_everything_has_a_default_in_dev() -> None:
    settings = Settings.from_environment({})
    assert (settings.port, settings.host, settings.workers) == (8000, "127.0.0.1", 1)
    assert (settings.environment, settings.event_bus) == (Environment.DEV, EventBus.LOG)
    assert settings.hold_ttl_seconds == 600
    assert settings.serves_dev_identity


def test_an_empty_value_is_no_value() -> None:
    assert Settings.from_environment({"PORT": "", "LOG_LEVEL": "debug"}).log_level is LogLevel.DEBUG


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_a_plain_address_of_a_database_will_do(scheme: str) -> None:
    settings = Settings.from_environment({"DATABASE_URL": f"{scheme}://me@db/holdfast"})
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql+asyncpg://me@db/holdfast"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "eight"),
        ("WORKERS", "-1"),
        ("HOLD_TTL_SECONDS", "0"),
        ("HOLD_TTL_SECONDS", "3601"),
        ("ENVIRONMENT", "staging"),
        ("EVENT_BUS", "pigeon"),
        ("LOG_LEVEL", "loud"),
        ("SIGNING_KEYS", "not json"),
        ("SIGNING_KEYS", "[]"),
        ("SIGNING_KEYS", f'["short", "{SECRET}"]'),
        ("OIDC_ISSUERS", "{"),
        ("DEV_IDENTITY", "maybe"),
        ("DATABASE_URL", f"mysql://root:{SECRET}@db/x"),
        ("DATABASE_URL", SECRET),
        ("REDIS_URL", f"http://:{SECRET}@redis"),
        ("METRICS_PORT", "99999"),
    ],
)
def test_a_broken_value_is_one_line_that_names_it_and_never_quotes_it(
    name: str, value: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({name: value})
    line = str(refused.value)
    assert line.startswith(f"{name}: ")
    assert "\n" not in line
    assert SECRET not in line


def test_an_unknown_name_is_refused_only_with_our_prefix() -> None:
    Settings.from_environment({"PATH": "/bin", "EDITOR": "vi"})
    with pytest.raises(SettingsError, match="HOLDFAST_PORT"):
        Settings.from_environment({"HOLDFAST_PORT": "80"})


def test_production_brings_its_own_and_never_the_development_issuer() -> None:
    assert not Settings.from_environment(PRODUCTION).serves_dev_identity
    for name in ("DATABASE_URL", "REDIS_URL", "SIGNING_KEYS"):
        with pytest.raises(SettingsError, match=name):
            Settings.from_environment({k: v for k, v in PRODUCTION.items() if k != name})
    with pytest.raises(SettingsError, match="DEV_IDENTITY"):
        Settings.from_environment(PRODUCTION | {"DEV_IDENTITY": "1"})


def test_secrets_do_not_show() -> None:
    settings = Settings.from_environment(
        PRODUCTION | {"DATABASE_URL": f"postgresql://me:{SECRET}@db/holdfast"}
    )
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)
