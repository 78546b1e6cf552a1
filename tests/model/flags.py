"""Every rule of the protocol, every choice the code made, every mistake that must be caught: a switch each.

A rule is on, and the run shows that without it the protocol fails. A choice stands as the code made it,
and the run shows that the protocol holds either way. A mistake is off, and the run shows that the
properties catch it.
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
    fence_raise: bool = _rule("only a fence raised in the journal unpins")
    journal_refusal: bool = _rule("Redis alone refuses no hold")
    flip_reread: bool = _rule("a rebuild reads Postgres again once bookings need a pin")
    load_marker: bool = _rule("each step of a load requires the claim that `begin` made")
    flip_where: bool = _rule("mode redis is set for the epoch that was loaded, or not at all")
    versions: bool = _rule("rows of inventory reach Redis by version")
    attempts: bool = _rule("a key whose id was aborted goes on with the next attempt")
    undo: bool = _rule("what a script granted to an ended or booked id is taken back")
    ceiling: bool = _rule("a booking is guarded by the ceiling, which PATCH never lowers")
    extend_redis_first: bool = _rule("an extension is made in Redis, then promised in the journal")
    cut_any: bool = _rule("the cut is the latest grant over rows of every state")
    redis_expiry: bool = _rule("only Redis in the current epoch says that a hold ran out")
    first_answer: bool = _rule("the journal keeps the first answer's time beside the present one")
    full_asks: bool = _rule("before sold_out is said the journal is asked, unless the key is new")
    ratchet: bool = _rule("a script that takes a hold back keeps the clock from going behind that")
    ratchet_says: bool = _rule(
        "a script that says a hold ran out keeps it from going behind that, too"
    )
    sync_rewinds: bool = _rule("the sync looks back again when it finds another epoch")
    tombstones_wait: bool = _rule("what was taken back is not forgotten until the journal was told")
    tighten_counts_ended: bool = _rule("what was taken back counts until the journal was told")

    # Choices
    keys_by_epoch: bool = _choice("keys carry the epoch's number, and `begin` clears nothing")
    begin_closes: bool = _choice("`begin` deletes the number of the epoch that was open")
    ended_memo_aborts: bool = _choice(
        "a retry that meets an ended memo without a row aborts the id"
    )
    telling_aborts: bool = _choice("telling the journal of an expiry aborts ids that have no row")
    settle_unknown: bool = _choice(
        "an unknown commit is settled at once, not by the resolver alone"
    )
    unpin_pinned_only: bool = _choice("a raised fence is taken over by a pinned hold only")
    finish_marks_unknown: bool = _choice("finishing an unknown hold leaves a mark that it is sold")
    extend_only_says: bool = _choice("extending a hold that ran out says so and takes nothing back")
    book_any_rebuild: bool = _choice("booking without a pin asks for the mode, not for the epoch")
    correct_reads_each: bool = _choice("the correction reads each hold that is no longer held anew")
    batch_all_or_nothing: bool = _choice("a batch of bookings is undone and split where one fails")
    full_when_sure: bool = _choice("sold_out is said at once where the key is provably new")

    # Mistakes
    no_guard: bool = _mistake("no ceiling in the booking's UPDATE")
    new_id_on_retry: bool = _mistake("a retry takes a new id")
    ack_before_journal: bool = _mistake("the hold is answered before its row is written")
    no_epoch_check: bool = _mistake("no epoch in scripts and transactions")
    no_incarnation_check: bool = _mistake("any server is believed")
    no_tombstone: bool = _mistake("an ended hold is deleted")
    abort_after_unknown: bool = _mistake("an unknown commit is taken for a rollback, and unpinned")
    unpin_any_fence: bool = _mistake("unpin without a raised fence")
    no_fence_where: bool = _mistake("no fence in the WHERE of the booking")
    no_state_where: bool = _mistake("no state in the WHERE of the booking")
    no_cut: bool = _mistake("a rebuild ends nothing")
    cut_held_only: bool = _mistake("the cut looks at HELD rows only")
    cut_db_clock: bool = _mistake("the cut is the database's clock")
    key_ttl: bool = _mistake("a pinned hold runs out, as a key with a TTL would")
    batch_rowcount: bool = _mistake("a batch of grants is answered by the number of rows")
    batch_epoch: bool = _mistake("the epoch of a grant is read when it is written down")
    free_held: bool = _mistake("the resolver aborts what is HELD")
    expire_pg_clock: bool = _mistake("the database's clock says that a hold ran out")
    sweeper_frees_first: bool = _mistake("the sweeper frees before it aborts")
    no_extend_epoch: bool = _mistake("an extension is promised without the proof of its epoch")
    sold_without_rows: bool = _mistake("a hold is marked sold without the rows that count it")
    one_pass_inventory: bool = _mistake("the second reading leaves the inventory out")
    book_any_mode: bool = _mistake("booking without a pin while Redis is open")
    discard_others: bool = _mistake("whoever rebuilt discards every epoch but its own")
    drop_booked: bool = _mistake("retention drops rows of booked holds")
    drop_held: bool = _mistake("retention drops rows that are HELD and past")
    batch_one_proof: bool = _mistake("a batch of bookings proves one epoch for pins of several")
    load_goes_on: bool = _mistake(
        "a rebuild loads an epoch that another process began, if unclaimed"
    )
    batch_all_done: bool = _mistake("a batch of bookings is answered by its first item")
    mark_none: bool = _mistake("sure without marks: no memo is taken for no answer")
    mark_by_id: bool = _mistake("marks by hold, not by key")
    always_whole: bool = _mistake("sure in an epoch that does not know every key")
    sure_when_stale: bool = _mistake("sure on the word of an epoch that may be over")
    whole_if_none_ended: bool = _mistake("an epoch is whole where the journal had HELD rows only")
    fill_held_only: bool = _mistake("the filler marks keys of HELD rows only")
    fill_over_bump: bool = _mistake("the filler's reading outlives its epoch")


ABOUT: dict[str, str] = {each.name: each.metadata["about"] for each in fields(Flags)}


def names(kind: Kind) -> list[str]:
    return [each.name for each in fields(Flags) if each.metadata["kind"] == kind]
