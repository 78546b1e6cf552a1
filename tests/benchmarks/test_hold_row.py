"""One tiny run of one row on real servers, as `make bench ROWS=hold` does it, and what stays of it."""

import itertools
from pathlib import Path

from app.dev.postgres import Postgres
from benchmarks import report
from benchmarks.generator import Generator
from benchmarks.load import Plan
from benchmarks.machine import this_machine
from benchmarks.rows import ROWS, holding
from benchmarks.rows.base import Bench, Line, compared
from benchmarks.stage import Servers


async def test_the_hold_row_small(postgres: Postgres, servers_folder: Path, tmp_path: Path) -> None:
    servers = Servers(servers_folder / "benchmarks", postgres)
    await servers.prepare_template()
    generator = await Generator.start()
    try:
        bench = Bench(servers, generator, tmp_path, 1, 0.3, 1.0, print)
        async with servers.stage(holding.with_flights(200)) as stage:
            api = await stage.api()
            bare = await stage.serve("bare-hold")
            requests = bench.requests(holding.hold_requests(api.token(), 200))
            rounds = await bench.compare(
                bench.arm(api, requests, stage.cpu(api), clients=8, count=40),
                bench.arm(bare, requests, stage.cpu(bare), clients=8, count=40),
            )
            async with stage.sql() as connection:
                kept = await connection.fetchval("SELECT count(*) FROM hold_journal")
            full = bench.requests(holding.hold_requests(api.token(), 200, fixed=(0,)))
            refused, outcome = await bench.load(
                Plan(api.port, full, 8, count=20, expected=409), stage.cpu(api)
            )
    finally:
        await generator.stop()
    (ours,), (base,) = rounds.ours, rounds.base
    assert set(ours.statuses) == set(base.statuses) == {"201"}
    assert (ours.operations, kept) == (40, 80)  # those of the warm-up too
    assert ours.cpu["app"] > 0
    assert ours.p99_ms >= ours.p50_ms > 0
    assert (refused.operations, outcome.statuses) == (20, {"409": 20})
    _check_what_stays(tmp_path, compared("hold", rounds, None, against="the bare route"))


def _check_what_stays(folder: Path, line: Line) -> None:
    report.keep(folder, "hold", [line], this_machine(folder), "1 round of 0.3 s")
    report.write(folder, list(ROWS))
    page = (folder / "results.md").read_text(encoding="utf-8")
    assert "| hold |" in page
    assert "<svg" in (folder / "ratios.svg").read_text(encoding="utf-8")
    assert set(report.read(folder)) == {"hold"}
    assert "hold" in report.table([line])


def test_requests_are_of_distinct_flights_and_the_same_each_time() -> None:
    some = holding.hold_requests("token", 50, count=100)
    assert some == holding.hold_requests("token", 50, count=100)
    for before, after in itertools.islice(some, 10):
        assert before.endswith("Idempotency-Key: ")
        flights = {part.split('"')[0] for part in after.split("flt_")[1:]}
        assert len(flights) == 2
