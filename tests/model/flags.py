"""The switches of the model: a rule of the protocol, a choice of the code, or a mistake that must be caught.

A rule is on, and the run shows that the protocol fails without it. A choice is set as the code has it,
and the run shows that the protocol also holds the other way. A mistake is off, and the run shows that
the properties catch it.
"""

from dataclasses import dataclass, field, fields
from typing import Any, Literal

Kind = Literal["rule", "choice", "mistake"]


def _rule(about: str) -> Any:
    return field(default=True, metadata={"kind": "rule", "about": about})


def _choice(about: str) -> Any:
    return field(default=True, metadata={"kind": "choice", "about": about})


def _mistake(about: str) -> Any:
    return field(default=False, metadata={"kind": "mistake", "about": about})


@dataclass(frozen=True, slots=True)
class Flags:
    # Rules
    token_raise: bool = _rule("unpinning needs a fencing token raised in the journal")
    journal_refusal: bool = _rule("no hold is refused on the answer of Redis alone")
    flip_reread: bool = _rule("a rebuild reads Postgres again once bookings need a pin")
    load_lease: bool = _rule("each step of a load requires the load lease of `begin`")
    flip_where: bool = _rule("mode redis is set for the epoch that was loaded, or not at all")
    versions: bool = _rule("rows of inventory reach Redis by version")
    attempts: bool = _rule("a key whose id was aborted continues with the next attempt")
    undo: bool = _rule("a grant to an id that has ended or is booked is undone")
    ceiling: bool = _rule("a booking is checked against the ceiling, which PATCH never lowers")
    extend_redis_first: bool = _rule("an extension is made in Redis, then written to the journal")
    cut_any: bool = _rule("the cut is the latest grant over rows of every state")
    redis_expiry: bool = _rule("only Redis in the current epoch decides that a hold has expired")
    first_answer: bool = _rule(
        "the journal keeps the end in the original answer beside the present end"
    )
    full_asks: bool = _rule(
        "the journal is asked before sold_out is answered, unless the key is new"
    )
    ratchet: bool = _rule("after a script reclaimed a hold the clock never reads an earlier time")
    ratchet_says: bool = _rule(
        "after a script answered that a hold has expired the clock never reads an earlier time"
    )
    sync_rewinds: bool = _rule("the sync starts from the beginning in a new epoch")
    tombstones_wait: bool = _rule("a reclaimed hold keeps its memo until the journal has its end")
    reduce_counts_ended: bool = _rule(
        "a reclaimed hold counts as taken until the journal has its end"
    )

    # Choices
    keys_by_epoch: bool = _choice("keys carry the epoch's number, and `begin` clears nothing")
    begin_closes: bool = _choice("`begin` deletes the number of the epoch that was open")
    ended_memo_aborts: bool = _choice(
        "a retry that meets an ended memo without a row aborts the id"
    )
    expiry_aborts: bool = _choice("writing an expiry to the journal aborts ids that have no row")
    settle_unknown: bool = _choice(
        "an unknown commit is settled at once if possible, not only by the resolver"
    )
    unpin_pinned_only: bool = _choice("a raised fencing token is applied to a pinned hold only")
    finish_marks_unknown: bool = _choice("finishing an unknown hold leaves a memo that says SOLD")
    extend_only_says: bool = _choice(
        "extending an expired hold answers EXPIRED and reclaims nothing"
    )
    book_any_rebuild: bool = _choice("booking without a pin checks the mode, not the epoch")
    correct_reads_each: bool = _choice(
        "the correction reads each hold that is no longer held again"
    )
    batch_all_or_nothing: bool = _choice(
        "a batch of bookings is rolled back and split if one fails"
    )
    full_when_sure: bool = _choice("sold_out is answered at once if the key is provably new")

    # Mistakes
    no_ceiling_check: bool = _mistake("no ceiling in the booking's UPDATE")
    new_id_on_retry: bool = _mistake("a retry takes a new id")
    ack_before_journal: bool = _mistake("the hold is answered before its row is written")
    no_epoch_check: bool = _mistake("scripts and transactions check no epoch")
    no_incarnation_check: bool = _mistake("any Redis server is trusted")
    no_tombstone: bool = _mistake("an ended hold is deleted")
    abort_after_unknown: bool = _mistake("an unknown commit is treated as a rollback, and unpinned")
    unpin_any_token: bool = _mistake("unpin without a raised fencing token")
    no_token_where: bool = _mistake("no fencing token in the WHERE of the booking")
    no_state_where: bool = _mistake("no state in the WHERE of the booking")
    no_cut: bool = _mistake("a rebuild ends nothing")
    cut_held_only: bool = _mistake("the cut looks at HELD rows only")
    cut_db_clock: bool = _mistake("the cut is the database's clock")
    key_ttl: bool = _mistake("a pinned hold expires, as a Redis key with a TTL would")
    batch_rowcount: bool = _mistake("a batch of grants is answered by the number of rows")
    batch_epoch: bool = _mistake("the epoch of a grant is read when its row is written")
    free_held: bool = _mistake("the resolver aborts a hold that is HELD in the journal")
    expire_pg_clock: bool = _mistake("the database's clock decides that a hold has expired")
    sweeper_frees_first: bool = _mistake("the sweeper frees before it aborts")
    no_extend_epoch: bool = _mistake("an extension is written without the proof of its epoch")
    sold_without_rows: bool = _mistake("a hold is marked sold without the rows that count it")
    one_pass_inventory: bool = _mistake("the second reading leaves the inventory out")
    book_any_mode: bool = _mistake("booking without a pin while Redis is open")
    discard_others: bool = _mistake("a rebuild discards the keys of every epoch but its own")
    drop_booked: bool = _mistake("retention drops rows of booked holds")
    drop_held: bool = _mistake("retention drops rows that are HELD and past their end")
    batch_one_proof: bool = _mistake("a batch of bookings proves one epoch for pins of several")
    load_goes_on: bool = _mistake(
        "a rebuild loads an epoch that another process began, if it has no load lease"
    )
    batch_all_done: bool = _mistake("a batch of bookings is answered by its first item")
    mark_none: bool = _mistake("without the key filter: a key without a memo counts as new")
    mark_by_id: bool = _mistake("the key filter marks hold ids, not idempotency keys")
    always_whole: bool = _mistake("a key counts as new though the key filter is not complete")
    sure_when_stale: bool = _mistake(
        "a key counts as new by the filter of an epoch that may be over"
    )
    whole_if_none_ended: bool = _mistake(
        "the filter counts as complete if the journal had HELD rows only"
    )
    fill_held_only: bool = _mistake("the filler marks keys of HELD rows only")
    fill_over_bump: bool = _mistake("the filler writes what it read in an epoch that is over")


ABOUT: dict[str, str] = {each.name: each.metadata["about"] for each in fields(Flags)}


def names(kind: Kind) -> list[str]:
    return [each.name for each in fields(Flags) if each.metadata["kind"] == kind]
