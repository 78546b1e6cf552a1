"""Brings a database's tables up to date with Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

_ROOT = Path(__file__).resolve().parents[2]


def upgrade(database_url: str) -> None:
    """Runs every migration that the database does not have. It blocks: call it outside the event loop."""
    command.upgrade(configuration(database_url), "head")


def head() -> str:
    """The revision that `upgrade` leads to."""
    revision = ScriptDirectory.from_config(configuration("")).get_current_head()
    assert revision is not None, "there are migrations"
    return revision


def configuration(database_url: str) -> Config:
    config = Config(str(_ROOT / "alembic.ini"))
    config.set_main_option("script_location", str(_ROOT / "migrations"))
    config.attributes["database_url"] = database_url
    return config
