"""What makes a database a feedback store: its tables, its version, and the environment that it is about."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, inspect, select, update

from rlhf_envs.feedback.database import Database
from rlhf_envs.feedback.errors import StoreDamagedError, StoreExistsError, StoreMissingError, StoreVersionError
from rlhf_envs.feedback.json_values import require_json
from rlhf_envs.feedback.schema import SCHEMA_VERSION, annotators, meta, metadata, notices


def found_store(database: Database, environment: Mapping[str, Any]) -> dict[str, Any]:
    """Make the tables, all or none, and return the description of the environment as it is stored.

    Raises:
        ValueError: if the description is not JSON.
        StoreExistsError: if a store is there already.
    """
    described: dict[str, Any] = require_json(dict(environment), "environment of a feedback store")

    def make_tables(connection: Connection) -> None:
        if inspect(connection).has_table(meta.name):
            raise StoreExistsError(f"{database.place} holds a feedback store already: open it, or name another place.")
        metadata.create_all(connection, checkfirst=False)
        facts = {"schema_version": SCHEMA_VERSION, "environment": described, "created_at": time.time()}
        connection.execute(insert(meta), [{"name": name, "value": value} for name, value in facts.items()])

    database.prepare_file()
    database.write(make_tables)
    return described


def recognise_store(database: Database) -> dict[str, Any]:
    """Check that this is a store that this version can use, and return its description of the environment.

    Raises:
        StoreMissingError, StoreVersionError, StoreDamagedError: if it is not.
    """

    def read_facts(connection: Connection) -> dict[str, Any]:
        inspected = inspect(connection)
        if not inspected.get_table_names():
            raise StoreMissingError(f"There is no feedback store at {database.place} yet: it is empty.")
        if not inspected.has_table(meta.name):
            raise StoreDamagedError(f"{database.place} is not a feedback store: it has none of its tables.")
        if not {meta.c.name.name, meta.c.value.name} <= {column["name"] for column in inspected.get_columns(meta.name)}:
            raise StoreDamagedError(f"{database.place} is not a feedback store: its tables are another program's.")
        return {row.name: row.value for row in connection.execute(select(meta.c.name, meta.c.value))}

    database.require_file()
    try:
        facts = database.read(read_facts)
    except ValueError:
        facts = {}
    version = facts.get("schema_version")
    if version == 1:
        database.write(_upgrade_from_1)
        version = SCHEMA_VERSION
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise StoreVersionError(
            f"The feedback store {database.place} has version {version}, newer than version {SCHEMA_VERSION} of this "
            "library: install a newer rlhf-envs to open it."
        )
    environment = facts.get("environment")
    if version != SCHEMA_VERSION or not isinstance(environment, dict):
        raise StoreDamagedError(f"{database.place} is damaged: it does not say its version or its environment.")
    return environment


def _upgrade_from_1(connection: Connection) -> None:
    """Version 1 had no notices, no annotators with tokens, and no queries for one annotator alone."""
    columns = {column["name"] for column in inspect(connection).get_columns("queries")}
    if "only_for" not in columns:  # another process may have upgraded it in the meantime
        connection.exec_driver_sql("ALTER TABLE queries ADD COLUMN only_for VARCHAR")
        metadata.create_all(connection, tables=[annotators, notices])
        connection.execute(update(meta).where(meta.c.name == "schema_version").values(value=SCHEMA_VERSION))
