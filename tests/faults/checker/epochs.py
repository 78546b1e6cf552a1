"""I10: nothing of an old epoch commits after the new epoch has begun.

Judged by the rows: each has the epoch of its grant and its time by the hold store's clock. Every hold of an
epoch that is over was granted at or before the cut, every later one at or after it. Not visible: a row of an
old epoch that was written late but granted before the cut, since rows do not record when they were
committed; and changes of state, which record no epoch.
"""

from tests.faults.checker.evidence import Evidence, clock_text
from tests.faults.checker.model import Findings
from tests.faults.history import Operation


def check_epochs(evidence: Evidence, findings: Findings) -> None:
    epoch = evidence.dumps.epoch
    promised = [row for row in evidence.dumps.hold_journal if row.state != "ABORTED"]
    if epoch is not None:
        for row in promised:
            if row.epoch > epoch.epoch:
                findings.add(
                    "I10",
                    f"{row.hold_id} is of epoch {row.epoch}, which has not begun",
                    *_of(evidence, row.hold_id),
                )
            elif row.epoch < epoch.epoch and row.granted_at > epoch.cut:
                findings.add(
                    "I10",
                    f"{row.hold_id} of epoch {row.epoch} was granted at {clock_text(row.granted_at)},"
                    f" after the cut at {clock_text(epoch.cut)}, and journaled",
                    *_of(evidence, row.hold_id),
                )
    latest: tuple[int, str] | None = None  # of all earlier epochs
    by_epoch: dict[int, list[tuple[int, str]]] = {}
    for row in promised:
        by_epoch.setdefault(row.epoch, []).append((row.granted_at, row.hold_id))
    for number in sorted(by_epoch):
        first, last = min(by_epoch[number]), max(by_epoch[number])
        if latest is not None and first[0] < latest[0]:
            findings.add(
                "I10",
                f"{first[1]} of epoch {number} was granted before {latest[1]} of an earlier epoch",
                *_of(evidence, latest[1]),
                *_of(evidence, first[1]),
            )
        latest = last if latest is None else max(latest, last)
    _check_clock(evidence, findings)
    _check_redis(evidence, findings)


def _check_clock(evidence: Evidence, findings: Findings) -> None:
    """A grant requested after another was acknowledged has a later time."""
    for story in evidence.holds.values():
        reached = evidence.clock.at_least(story.deliveries.first_invoked)
        if story.created_at < reached:
            findings.add(
                "I10",
                f"{story.hold_id} was granted at {clock_text(story.created_at)}, and a grant at"
                f" {clock_text(reached)} had been acknowledged before it was asked for",
                story.granted,
            )


def _check_redis(evidence: Evidence, findings: Findings) -> None:
    redis, epoch = evidence.dumps.redis, evidence.dumps.epoch
    if redis is None or epoch is None or evidence.terms.settled_at is None:
        return
    if epoch.mode != "redis" or redis.epoch != epoch.epoch:
        findings.add(
            "I10",
            f"at rest PostgreSQL is in epoch {epoch.epoch} ({epoch.mode}), and Redis in {redis.epoch}",
        )


def _of(evidence: Evidence, hold_id: str) -> list[Operation]:
    story = evidence.holds.get(hold_id)
    return [] if story is None else [story.granted]
