"""The faults: of processes, servers, clocks, and statements under way."""

from typing import Final

from tests.simulation.world import World

FAULTS: Final = (
    "crash",
    "freeze",
    "redis_empty",
    "redis_same",
    "redis_stale",
    "flushall",
    "promote",
    "script_flush",
    "redis_clock",
    "database_clock",
    "process_clock",
    "database_crash",
    "database_away",
    "stall",
    "rerun",
)


def fail(world: World, fault: str) -> None:
    chance = world.chance
    node = chance.choice(world.nodes)
    match fault:
        case "crash":
            if not node.is_dead:
                world.crash(node)
            else:
                world.start_node(node.number)
        case "freeze":
            if node.is_dead:
                return
            if node.is_frozen:
                world.loop.wake(node)
            else:
                node.is_frozen = True
        case "redis_empty":
            world.restart_redis({}, {})
        case "redis_same":
            world.restart_redis(world.primary.data, world.primary.expiries)
        case "redis_stale":
            world.restart_redis(*world.replica)
        case "flushall":
            world.primary.command("FLUSHALL")
        case "promote":
            world.promote_replica()
        case "restore":
            world.primary.take_data_of(*world.replica)
        case "script_flush":
            world.primary.scripts = set()
        case "redis_clock":
            jump = chance.choice((300, -300, 5, -5)) * 1_000_000
            world.primary.offset = max(-300_000_000, min(300_000_000, world.primary.offset + jump))
        case "database_clock":
            world.database.offset = chance.choice((300, -300, 0)) * 1_000_000
        case "process_clock":
            node.offset = chance.choice((1, -1, 0)) * world.ttl * 10
        case "database_crash":
            world.database.crash()
        case "database_away":
            world.database.is_up = not world.database.is_up
            if not world.database.is_up:
                world.database.crash()
        case "stall":
            if world.effects.pending:
                stalled = chance.choice(world.effects.pending)
                stalled.stalled_until = world.step + chance.randrange(10, 80)
        case "rerun":
            _rerun(world)
    world.faults[fault] += 1
    world.log(f"fault: {fault} {node.name}")


def _rerun(world: World) -> None:
    """The next statement of some open transaction fails with a serialization failure."""
    chosen = [one for one in world.database.open if one.writes]
    if chosen:
        world.chance.choice(chosen).must_rerun = True
