"""The schema of a database: which one it has, and how it becomes the newest."""

from pathlib import Path

from sqlalchemy import Connection, MetaData, Table, inspect, select

_MIGRATIONS = Path(__file__).parent / "migrations"
_KEPT_BY_ALEMBIC = "alembic_version"


def is_newest(connection: Connection) -> bool:
    """Whether nothing is to be migrated."""
    if not inspect(connection).has_table(_KEPT_BY_ALEMBIC):
        return False
    table = Table(_KEPT_BY_ALEMBIC, MetaData(), autoload_with=connection)
    return connection.execute(select(table.c.version_num)).scalar() == _newest()


def upgrade(connection: Connection) -> None:
    """Every migration that the database has not seen has run."""
    # Needed once after an installation; its libraries cost every other command a quarter of a second.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _newest() -> str:
    """The revision of the last migration, with which the name of its file begins."""
    return max(file.name for file in (_MIGRATIONS / "versions").glob("*.py")).partition("_")[0]
