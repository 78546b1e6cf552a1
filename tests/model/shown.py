"""Where each switch is demonstrated: the smallest world in which it makes a difference, or could.

A rule or a mistake names one world, and the prefixes of the violations that count. A choice names the
worlds in which the protocol is explored the other way.
"""

SAFETY = ("I1 ", "I2", "I3", "I10")
ANY: tuple[str, ...] = ()

RULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "token_raise": ("confirm", SAFETY),
    "journal_refusal": ("split", SAFETY),
    "flip_reread": ("loss", SAFETY),
    "load_lease": ("rebuild2", SAFETY),
    "flip_where": ("rebuild2", SAFETY),
    "versions": ("cancel", SAFETY),
    "attempts": ("duel", ANY),
    "undo": ("release", ANY),
    "ceiling": ("patch", SAFETY),
    "extend_redis_first": ("extendloss", SAFETY),
    "cut_any": ("clock+", SAFETY),
    "redis_expiry": ("clock+", SAFETY),
    "first_answer": ("extendloss", ANY),
    "full_asks": ("age", ANY),
    "ratchet": ("back", ANY),
    "ratchet_says": ("extendback", ANY),
    "sync_rewinds": ("sync", ANY),
    "tombstones_wait": ("extendage", ANY),
    "reduce_counts_ended": ("reduce", ANY),
}
CHOICES: dict[str, tuple[str, ...]] = {
    "keys_by_epoch": ("loss", "tomb", "rebuild3"),
    "begin_closes": ("loss", "lossres", "both"),
    "ended_memo_aborts": ("duel", "release", "late"),
    "expiry_aborts": ("resolvers", "look", "duel"),
    "settle_unknown": ("confirm", "resolvers"),
    "unpin_pinned_only": ("confirm", "lossres"),
    "finish_marks_unknown": ("dup", "age"),
    "extend_only_says": ("extend", "look"),
    "book_any_rebuild": ("loss", "loss2", "both"),
    "correct_reads_each": ("loss", "cancel", "patchloss"),
    "batch_all_or_nothing": ("together", "togetherloss"),
    "full_when_sure": ("age", "attempt", "new", "newsplit", "newattempt"),
}
MISTAKES: dict[str, tuple[str, tuple[str, ...]]] = {
    "no_ceiling_check": ("guard", ANY),
    "new_id_on_retry": ("duel", ANY),
    "ack_before_journal": ("duel", ANY),
    "no_epoch_check": ("loss", ANY),
    "no_incarnation_check": ("loss", ANY),
    "no_tombstone": ("release", ANY),
    "abort_after_unknown": ("confirm", ANY),
    "unpin_any_token": ("resolvers", ANY),
    "no_token_where": ("confirm", ANY),
    "no_state_where": ("release", ANY),
    "no_cut": ("loss", ANY),
    "cut_held_only": ("cut", ("I1 ", "I2/I3")),
    "cut_db_clock": ("clock+", ANY),
    "key_ttl": ("confirm", ANY),
    "batch_rowcount": ("batch", ANY),
    "batch_epoch": ("split", ANY),
    "free_held": ("confirm", ANY),
    "expire_pg_clock": ("clock+", ANY),
    "sweeper_frees_first": ("duel", ANY),
    "no_extend_epoch": ("extendloss", ANY),
    "sold_without_rows": ("release", ANY),
    "one_pass_inventory": ("cancel", ANY),
    "book_any_mode": ("loss", ANY),
    "discard_others": ("rebuild2", ANY),
    "drop_booked": ("old", ANY),
    "drop_held": ("old", ANY),
    "load_goes_on": ("rebuild2", ANY),
    "batch_one_proof": ("togetherloss", ANY),
    "batch_all_done": ("together", ANY),
    "mark_none": ("age", ANY),
    "mark_by_id": ("newattempt", ANY),
    "always_whole": ("new", ANY),
    "sure_when_stale": ("newsplit", ANY),
    "whole_if_none_ended": ("new", ANY),
    "fill_held_only": ("new", ANY),
    "fill_over_bump": ("newattempt", ANY),
}
WITH_SWITCHES: dict[str, dict[str, bool]] = {
    "one_pass_inventory": {"correct_reads_each": False},
    "drop_held": {"tombstones_wait": False},
}
"""Further switches without which a mistake makes no difference: reading a hold's rows again corrects a
second reading that has no inventory, and a memo that waits for the journal replaces its deleted row.
"""
