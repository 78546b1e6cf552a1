"""Parts that place holds and repair grants: hold, batch of holds, sweeper, expirer, GET of a hold."""

from tests.model import scripts, transactions
from tests.model.properties import acknowledge, answer_sold_out, refuse
from tests.model.steps import Steps, ask, call, go, learn_again, reached
from tests.model.world import DONE, LIVE, Part, Pc, Rows, World, put, spend


def hold(world: World, part: int, this: Part) -> Steps:
    """Hold: script, journal, answer; the next attempt if the id was aborted."""
    step, _, _, attempt, granted, expires = world.actors[part]
    holds = world.configuration.keys[this.key]
    if world.flags.new_id_on_retry and this.is_retry and attempt == 0:
        attempt = 1
    asked = holds[min(attempt, len(holds) - 1)]
    if step == "place":
        yield from _place(world, part, this, asked, attempt)
    elif step == "append":
        yield from _append(world, part, this, asked, attempt, granted, expires)
    elif step == "abort":
        yield from _abort(world, part, asked, attempt, granted)
    elif step == "ask":
        yield from _ask_journal(world, part, this)
    elif step == "undo":
        yield from _undo(world, part, asked, granted, expires)


def _place(world: World, part: int, this: Part, asked: int, attempt: int) -> Steps:
    _, epoch, incarnation, *_ = world.actors[part]
    name = world.name(asked)
    after, reply = call(world, part, scripts.place, asked)
    if after is None:
        yield from learn_again(world, part, "place")
        return
    if reply[0] == "FULL":
        if world.flags.full_asks and not (reply[1] and _may_be_sure(world, epoch)):
            yield (
                f"place({name}): full",
                go(after, part, ("ask", epoch, incarnation, attempt, 0, 0)),
            )
            return
        answer_sold_out(after, this.key)
        yield f"place({name}): full -> 409 at once", go(after, part, DONE)
        return
    state, granted, expires = reply[1:]
    if state == "ABORTED":
        yield f"place({name}): ABORTED", _next_attempt(after, part, attempt)
        return
    if world.flags.ack_before_journal and reply[0] == "GRANTED":
        acknowledge(after, this.key, asked, expires, expires)
    is_over = reply[0] == "MEMO" and state != "HELD" and world.flags.ended_memo_aborts
    step = "abort" if is_over else "append"
    label = f"place({name}): {reply[0]} {state} until {expires}"
    yield label, go(after, part, (step, epoch, incarnation, attempt, granted, expires))


def _may_be_sure(world: World, epoch: int) -> bool:
    """Whether the epoch is fresh: a new epoch opens only after every cached reading of it is too old."""
    if not world.flags.full_when_sure:
        return False
    newer = any(redis.epoch is not None and redis.epoch > epoch for redis in world.redises)
    return not newer or world.flags.sure_when_stale


def _next_attempt(after: World, part: int, attempt: int) -> World:
    _, epoch, incarnation, *_ = after.actors[part]
    key = after.configuration.parts[part].key
    if after.flags.attempts and attempt + 1 < len(after.configuration.keys[key]):
        return go(after, part, ("place", epoch, incarnation, attempt + 1, 0, 0))
    return go(after, part, DONE)  # 503; the retry is another part


def _append(
    world: World, part: int, this: Part, asked: int, attempt: int, granted: int, expires: int
) -> Steps:
    _, epoch, incarnation, *_ = world.actors[part]
    flags, name = world.flags, world.name(asked)
    after = world.copy()
    spoken_for = world.epoch if flags.batch_epoch else epoch
    state = transactions.insert(after, spoken_for, asked, granted, expires)
    if state == "EPOCH":
        yield from learn_again(world, part, "place")
        return
    if flags.batch_epoch and state == "NEW" and epoch != world.epoch:
        after.accuse("I10 a grant of an epoch that is over was journaled")
    if state == "NEW" and world.budget.unknowns:
        lost = after.copy()
        spend(lost, "unknowns")
        yield f"append {name}: written, answer lost -> 503", go(lost, part, DONE)
    if state == "ABORTED":
        if flags.undo:
            undo: Pc = ("undo", epoch, incarnation, attempt, state, ())
            yield f"append {name}: ABORTED", go(after, part, undo)
        yield f"append {name}: ABORTED -> next attempt", _next_attempt(after.copy(), part, attempt)
        return
    row = after.journal[asked]
    assert row is not None, "it was there or was written"
    if not (flags.ack_before_journal and state == "NEW"):
        answered = row.first if flags.first_answer else row.expires
        acknowledge(after, this.key, asked, row.expires, answered)
    undo = ("undo", epoch, incarnation, attempt, state, after.rows(asked))
    has_more = flags.undo and state not in ("NEW", "HELD")
    yield f"append {name}: {state} -> 201", go(after, part, undo if has_more else DONE)


def _abort(world: World, part: int, asked: int, attempt: int, granted: int) -> Steps:
    """The memo has ended: replay the row, or abort the id so that a slow first writer cannot use it."""
    _, epoch, incarnation, *_ = world.actors[part]
    name = world.name(asked)
    after = world.copy()
    state = transactions.insert(after, epoch, asked, granted, granted, "ABORTED")
    if state == "EPOCH":
        yield from learn_again(world, part, "place")
    elif state in ("NEW", "ABORTED"):
        yield f"abort {name}: {state}", _next_attempt(after, part, attempt)
    else:
        row = after.journal[asked]
        assert row is not None, "it is there"
        acknowledge(after, world.configuration.parts[part].key, asked, row.expires, row.first)
        undo = ("undo", epoch, incarnation, attempt, state, after.rows(asked))
        is_live = state == "HELD"
        yield f"{name} is {state} in the journal -> 201", go(after, part, DONE if is_live else undo)


def _ask_journal(world: World, part: int, this: Part) -> Steps:
    after = world.copy()
    found = transactions.answered(world, this.key)
    if found is None:
        answer_sold_out(after, this.key)
        yield "journal: the key is new -> 409", go(after, part, DONE)
    else:
        held, row = found
        acknowledge(after, this.key, held, row.expires, row.first)
        yield f"journal: the key has {world.name(held)} -> 201", go(after, part, DONE)


def _undo(world: World, part: int, asked: int, state: str, rows: Rows) -> Steps:
    if state == "CONFIRMED":
        after, _ = call(world, part, scripts.finish, asked, rows)
    else:
        after, _ = call(world, part, scripts.end, asked, state)
    if after is not None:
        yield f"undo the grant of {world.name(asked)} ({state})", go(after, part, DONE)


def batch(world: World, part: int, this: Part) -> Steps:
    """A batch of holds: one script call, one INSERT; each request is answered by its own row."""
    step, epoch, incarnation, grants = world.actors[part]
    if step == "place":
        index = reached(world, part)
        if index is None:
            return
        redis, granted = world.redises[index], []
        for key in this.several:
            asked = world.configuration.keys[key][0]
            now = scripts.read_clock(world, redis)
            redis, reply = scripts.place(world.setting, redis, now, epoch, asked)
            if reply[0] == "EPOCH":
                return
            if reply[0] != "FULL" and reply[1] == "HELD":
                granted.append((key, asked, reply[2], reply[3]))
        after = world.copy()
        after.redises = put(after.redises, index, redis)
        names = [world.name(asked) for _, asked, _, _ in granted]
        pc = ("append", epoch, incarnation, tuple(granted)) if granted else DONE
        yield f"place x{len(this.several)}: granted {names}", go(after, part, pc)
    else:
        yield from _append_batch(world, part, grants)


def _append_batch(world: World, part: int, grants: tuple[tuple[int, int, int, int], ...]) -> Steps:
    epoch = world.actors[part][1]
    after = world.copy()
    states = [
        transactions.insert(after, epoch, asked, granted, expires)
        for _, asked, granted, expires in grants
    ]
    if "EPOCH" in states:
        return
    for state, (key, asked, _, expires) in zip(states, grants, strict=True):
        row = after.journal[asked]
        assert row is not None, "it was there or was written"
        if world.flags.batch_rowcount:
            if "NEW" in states:
                acknowledge(after, key, asked, expires, expires)
        elif state != "ABORTED":
            acknowledge(after, key, asked, row.expires, row.first)
    yield f"one INSERT: {states}", go(after, part, DONE)


def sweep(world: World, part: int, this: Part) -> Steps:
    """The sweeper: aborts a grant without a row in the journal, which stops a slow writer, then frees it."""
    asked, name = this.hold, world.name(this.hold)
    step, epoch, incarnation, state, rows = world.actors[part]
    if step == "look":
        redis = ask(world, part)
        if redis is None or redis.epoch != epoch:
            yield from learn_again(world, part, "look")
            return
        memo = scripts.keys_of(world.setting, redis, epoch).memos[asked]
        if memo is not None and memo.state == "HELD":
            following = "free first" if world.flags.sweeper_frees_first else "abort"
            pc = (following, epoch, incarnation, "", ())
            yield f"the sweeper finds {name}", go(world.copy(), part, pc)
    elif step == "free first":
        if world.journal[asked] is None:
            after, _ = call(world, part, scripts.end, asked, "ABORTED")
            if after is not None:
                yield f"the sweeper frees {name} first", go(after, part, DONE)
    elif step == "abort":
        if not transactions.proves(world, epoch):
            return
        after = world.copy()
        found = transactions.abort_missing(after, epoch, asked)
        acts = found == "ABORTED" or (world.flags.undo and found != "HELD")
        pc = ("end", epoch, incarnation, found, after.rows(asked)) if acts else DONE
        yield f"the sweeper aborts {name}: {found}", go(after, part, pc)
    else:
        yield from _undo(world, part, asked, state, rows)


def expire(world: World, part: int, this: Part) -> Steps:
    """The expirer: writes to the journal what Redis reclaimed, under the epoch in which it did."""
    expired, name = this.hold, world.name(this.hold)
    step, epoch, incarnation = world.actors[part]
    if world.flags.expire_pg_clock:
        yield from _expire_by_database(world, part, expired)
    elif step == "look":
        after, _ = call(world, part, scripts.reclaim_all)
        if after is not None:
            index = reached(after, part)
            assert index is not None, "the script ran there"
            keys = scripts.keys_of(world.setting, after.redises[index], epoch)
            if expired in keys.ended:
                pc = ("journal", epoch, incarnation)
                yield f"the expirer finds that {name} was reclaimed", go(after, part, pc)
    elif step == "journal":
        after = world.copy()
        if transactions.mark_expired(after, epoch, expired):
            pc = ("forget", epoch, incarnation)
            yield f"the journal has {name} as EXPIRED", go(after, part, pc)
    else:
        after_forgetting, _ = call(world, part, scripts.forget_ended, expired)
        if after_forgetting is not None:
            yield f"the expirer is done with {name}", go(after_forgetting, part, DONE)


def _expire_by_database(world: World, part: int, expired: int) -> Steps:
    row = world.journal[expired]
    now = world.time + world.configuration.postgres_offset
    if row is not None and row.state == "HELD" and row.expires <= now:
        after = world.copy()
        after.journal = put(after.journal, expired, row._replace(state="EXPIRED"))
        yield f"{world.name(expired)} is EXPIRED by the database's clock", go(after, part, DONE)


def look(world: World, part: int, this: Part) -> Steps:
    """GET of one hold: what has expired in Redis is written to the journal before the client's answer."""
    seen, name = this.hold, world.name(this.hold)
    step, epoch, incarnation = world.actors[part]
    if step == "look":
        after, reply = call(world, part, scripts.read_memos, seen)
        if after is None:
            yield from learn_again(world, part, "look")
        elif reply[0] in LIVE:
            yield f"GET {name}: {reply[0]}", go(after, part, DONE)
        else:
            step = "journal" if reply[0] == "EXPIRED" else "read"
            pc = (step, epoch, incarnation)
            yield f"GET {name}: {reply[0]}", go(after, part, pc)
    elif step == "journal":
        after = world.copy()
        if transactions.mark_expired(after, epoch, seen):
            pc = ("read", epoch, incarnation)
            yield f"the journal has {name} as EXPIRED", go(after, part, pc)
        else:
            yield f"GET {name}: another epoch -> 503", go(world.copy(), part, DONE)
    else:
        after = world.copy()
        row = world.journal[seen]
        state = None if row is None else row.state
        if state not in ("HELD", None, "CONFIRMED"):
            refuse(after, seen, f"GET shows it as {state}")
        yield f"GET {name} shows {state}", go(after, part, DONE)
