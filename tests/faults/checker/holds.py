"""I3 and the middle of I6: an acknowledged hold is live until its end, and not longer.

A refusal that denies a hold needs a known cause: it had expired by the hold store's clock, or a request
released or booked it. The final journal must agree with the cause. 503 and lost answers deny nothing while
a fault lasts; after the last repair they do.
"""

from typing import Final

from tests.faults.checker.evidence import Evidence, HoldStory, clock_text, may_have_happened, until
from tests.faults.checker.model import Findings
from tests.faults.history import Operation

_ASKED: Final = ("book", "extend", "get_hold", "release")


def check_holds(evidence: Evidence, findings: Findings) -> None:
    for story in evidence.holds.values():
        _check_row(evidence, findings, story)
        for kind in _ASKED:
            for operation in story.of(kind):
                if operation.status is not None:
                    _check_answer(evidence, findings, story, operation)
        _check_served_at_rest(evidence, findings, story)
    _check_kept_in_redis(evidence, findings)


def _check_row(evidence: Evidence, findings: Findings, story: HoldStory) -> None:
    row = evidence.journal.get(story.hold_id)
    if row is None or row.state == "ABORTED":
        state = "has no journal row" if row is None else "was aborted in the journal"
        findings.add("I3", f"{story.hold_id} was acknowledged, and {state}", story.granted)
        return
    extended = [one for one in story.of("extend") if one.outcome == "ok"]
    if (row.granted_at, row.first_expires_at) != (story.created_at, story.first_expires_at):
        findings.add(
            "I3", f"{story.hold_id} was answered with other times than the journal's", story.granted
        )
    if extended and row.expires_at != story.promised_until:
        findings.add(
            "I3",
            f"{story.hold_id} was promised until {clock_text(story.promised_until)},"
            f" and the journal has {clock_text(row.expires_at)}",
            story.granted,
            extended[0],
        )
    if not any(may_have_happened(one) for one in story.of("extend")) and row.extensions_used:
        findings.add("I3", f"{story.hold_id} was extended without a request", story.granted)
    if sorted(row.lines) != sorted(story.lines) and story.lines:
        findings.add(
            "I9",
            f"{story.hold_id} has other lines in the journal than in its answer",
            story.granted,
        )


def _check_answer(
    evidence: Evidence, findings: Findings, story: HoldStory, operation: Operation
) -> None:
    match operation.status, operation.code, (operation.answer or {}).get("status"):
        case 404, _, _:
            findings.add(
                "I3",
                f"{story.hold_id} was acknowledged, and then not found",
                story.granted,
                operation,
            )
        case 410, "hold_expired", _:
            _check_expired(evidence, findings, story, operation)
        case 200, _, "expired" if operation.kind == "get_hold":
            _check_expired(evidence, findings, story, operation)
        case 200, _, "released" if operation.kind == "get_hold":
            _check_cause(findings, story, operation, ("release",))
        case 200, _, "booked" if operation.kind == "get_hold":
            _check_cause(findings, story, operation, ("book",))
        case 200 | 201, _, _ if operation.kind != "release":
            _check_not_over(evidence, findings, story, operation)
        case 409, "sold_out", _:
            findings.add(
                "I3",
                f"{story.hold_id} owned its seats, and its booking found them sold",
                story.granted,
                operation,
            )
        case 409, "hold_not_active", _:
            causes = ("book",) if operation.kind == "release" else ("book", "release")
            if _check_cause(findings, story, operation, causes):
                _check_ended(evidence, findings, story, operation)
        case 409, "extension_limit_reached", _:
            _check_cause(findings, story, operation, ("extend",))


def _check_expired(
    evidence: Evidence, findings: Findings, story: HoldStory, operation: Operation
) -> None:
    answered = _promised_end_before(story, operation)
    moment = operation.completed_at or operation.invoked_at
    last, witness = evidence.clock.certainly_before(
        answered, story.deliveries.first_invoked, story.created_at
    )
    if moment <= last:
        findings.add(
            "I3",
            f"{story.hold_id} was promised until {clock_text(answered)}, and was called expired before",
            story.granted,
            operation,
            witness,
        )
    row = evidence.journal.get(story.hold_id)
    if row is not None and row.state != "EXPIRED":
        findings.add(
            "I3",
            f"{story.hold_id} was called expired, and the journal has it {row.state}",
            story.granted,
            operation,
        )


def _check_ended(
    evidence: Evidence, findings: Findings, story: HoldStory, operation: Operation
) -> None:
    """Ended by a booking or a release. An extension may also meet a booking under way that then fails."""
    row = evidence.journal.get(story.hold_id)
    if operation.kind == "extend" or row is None or row.state in ("CONFIRMED", "RELEASED"):
        return
    findings.add(
        "I3",
        f"{story.hold_id} was called booked or released, and the journal has it {row.state}",
        story.granted,
        operation,
    )


def _check_cause(
    findings: Findings, story: HoldStory, operation: Operation, kinds: tuple[str, ...]
) -> bool:
    """Whether another request, made before this answer, may have caused the refusal."""
    until_then = operation.completed_at or operation.invoked_at
    for kind in kinds:
        for one in story.of(kind):
            if (
                one is not operation
                and one.invoked_at <= until_then
                and _may_be_cause(one, operation)
            ):
                return True
    findings.add(
        "I3",
        f"{story.hold_id} was refused with {operation.code or 'its status'} without a request for"
        f" its {' or '.join(kinds)}",
        story.granted,
        operation,
    )
    return False


def _may_be_cause(one: Operation, refused: Operation) -> bool:
    """A refused booking pins the hold briefly; an extension may meet that pin."""
    return may_have_happened(one) or (refused.kind == "extend" and one.kind == "book")


def _check_not_over(
    evidence: Evidence, findings: Findings, story: HoldStory, operation: Operation
) -> None:
    """Served as live although over; a repeated delivery is judged by the first, whose answer it repeats."""
    first = operation.invoked_at
    if operation.key is not None:
        first = evidence.deliveries[operation.kind, operation.tenant, operation.key].first_invoked
    for release in story.of("release"):
        if release.outcome == "ok" and (release.completed_at or first) < first:
            findings.add(
                "I3",
                f"{story.hold_id} was released, and served as live afterwards",
                story.granted,
                release,
                operation,
            )
    if operation.kind == "get_hold" and story.of("book"):
        return  # a pinned hold is live for as long as its booking takes
    if evidence.clock.at_least(first) >= evidence.possible_end(story):
        findings.add(
            "I6",
            f"{story.hold_id} had certainly expired, and was served as live",
            story.granted,
            operation,
        )


def _check_served_at_rest(evidence: Evidence, findings: Findings, story: HoldStory) -> None:
    settled = evidence.terms.settled_at
    for operation in story.of("book"):
        if settled is not None and operation.invoked_at > settled and operation.status == 503:
            findings.add(
                "I3",
                f"{story.hold_id} could not be booked although everything was healed",
                story.granted,
                operation,
            )


def _check_kept_in_redis(evidence: Evidence, findings: Findings) -> None:
    """At rest a hold that has not expired is live in Redis too, until the same time."""
    redis, epoch = evidence.dumps.redis, evidence.dumps.epoch
    if redis is None or redis.epoch is None or epoch is None or epoch.mode != "redis":
        return
    for row in evidence.dumps.hold_journal:
        if row.state != "HELD" or row.expires_at <= redis.now:
            continue
        memo, story = redis.memos.get(row.hold_id), evidence.holds.get(row.hold_id)
        if memo is None or memo.state not in ("HELD", "PINNED"):
            state = (
                "unknown to" if memo is None else f"{memo.state} in"
            )  # "… to Redis", "HELD in Redis"
            findings.add(
                "I3",
                f"{row.hold_id} is HELD in the journal, and {state} Redis at rest",
                story.granted if story else None,
            )
        elif memo.expires_at is not None and memo.expires_at < row.expires_at:
            findings.add(
                "I3",
                f"{row.hold_id} ends earlier in Redis than in the journal",
                story.granted if story else None,
            )


def _promised_end_before(story: HoldStory, operation: Operation) -> int:
    """The latest end in any answer before this request."""
    answered = [
        until(one)
        for one in story.of("extend")
        if one.outcome == "ok" and (one.completed_at or one.invoked_at) <= operation.invoked_at
    ]
    return max([story.first_expires_at, *answered])
