"""The embedded PostgreSQL: how it is set up, and what it survives."""

import asyncio
import os
import signal

import asyncpg
import psutil
import pytest

from app.dev.child import is_alive
from app.dev.errors import CannotStartError
from app.dev.postgres import Postgres
from tests.fixtures.servers import StartPostgres


async def _setting(server: Postgres, name: str) -> str:
    connection = await server.connect("holdfast")
    try:
        return str(await connection.fetchval("SELECT current_setting($1)", name))
    finally:
        await connection.close()


async def test_it_is_set_up_for_truth(start_postgres: StartPostgres) -> None:
    server = await start_postgres()
    expected = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "idle_in_transaction_session_timeout": "2s",
        "max_connections": "100",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
        "listen_addresses": "127.0.0.1",
        "password_encryption": "scram-sha-256",
    }
    assert {name: await _setting(server, name) for name in expected} == expected


async def test_it_asks_for_its_password(start_postgres: StartPostgres) -> None:
    server = await start_postgres()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(
            host="127.0.0.1", port=server.port, user="holdfast", password="guess", ssl=False
        )
    secrets = server.log.parents[1].glob("*pass*")
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}


async def test_what_is_committed_survives_a_kill(start_postgres: StartPostgres) -> None:
    server = await start_postgres()
    connection = await server.connect("holdfast")
    await connection.execute("CREATE TABLE kept (id int); INSERT INTO kept VALUES (7)")
    connection.terminate()
    assert server.child is not None
    os.kill(server.child.process.pid, signal.SIGKILL)
    await server.child.wait()
    assert (server.log.parents[1] / "postgres" / "postmaster.pid").exists()

    again = await start_postgres(data_dir=server.log.parents[1])
    connection = await again.connect("holdfast")
    assert await connection.fetchval("SELECT id FROM kept") == 7
    await connection.close()


async def test_a_stale_lock_that_names_another_living_process_is_no_obstacle(
    start_postgres: StartPostgres,
) -> None:
    server = await start_postgres()
    await server.stop()
    home = server.log.parents[1]
    another = await asyncio.create_subprocess_exec("/bin/sleep", "600")
    lock = home / "postgres" / "postmaster.pid"
    lock.write_text(f"{another.pid}\n{home}/postgres\n1\n{server.port}\n\n127.0.0.1\n")
    try:
        await start_postgres(data_dir=home)
    finally:
        another.kill()
        await another.wait()


async def test_a_setup_that_was_cut_short_is_done_again(start_postgres: StartPostgres) -> None:
    server = await start_postgres()
    await server.stop()
    home = server.log.parents[1]
    (home / "postgres").rename(home / "postgres.new")
    (home / "postgres.new" / "PG_VERSION").unlink()
    await start_postgres(data_dir=home)


async def test_why_it_does_not_start_is_one_line(start_postgres: StartPostgres) -> None:
    server = await start_postgres()
    await server.stop()
    (server.log.parents[1] / "postgres" / "postgresql.conf").write_text("nonsense = 1\n")
    with pytest.raises(CannotStartError, match="did not start") as refusal:
        await start_postgres(data_dir=server.log.parents[1])
    assert "\n" not in str(refusal.value)


async def test_stop_leaves_no_process(start_postgres: StartPostgres) -> None:
    server = await start_postgres()
    assert server.child is not None
    postmaster = psutil.Process(server.child.process.pid)
    family = [postmaster, *postmaster.children(recursive=True)]
    assert len(family) > 1
    await server.stop()
    psutil.wait_procs(family, timeout=5)
    assert [process for process in family if is_alive(process)] == []


async def test_it_never_logs_a_row_or_a_statement(start_postgres: StartPostgres) -> None:
    server = await start_postgres()
    connection = await server.connect("holdfast")
    await connection.execute("CREATE TABLE person (name text PRIMARY KEY)")
    await connection.execute("INSERT INTO person VALUES ('Valentina')")
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute("INSERT INTO person VALUES ($1)", "Valentina")
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await connection.execute("INSERT INTO Valentina Valentina")
    await connection.close()
    await server.stop()
    assert "ready to accept connections" in server.log.read_text()
    assert "Valentina" not in server.log.read_text()
