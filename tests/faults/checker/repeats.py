"""I4: several deliveries of one request have one effect and one answer.

The first answer is repeated: status, body and Location. Bytes are compared if the history has their digest,
otherwise the body's members in their order. Either of two concurrent deliveries may do the work; one that
was sent after the answer must be marked as a replay.
"""

import json
from collections import defaultdict
from typing import Any, Final

from tests.faults.checker.evidence import Deliveries, Evidence
from tests.faults.checker.model import Findings
from tests.faults.history import Operation

REPLAYED: Final = "idempotent-replayed"
_KEYED: Final = ("hold", "book", "extend", "cancel")
_MAY_COME_FIRST: Final = frozenset({"idempotency_key_reused", "validation_error"})


def check_repeats(evidence: Evidence, findings: Findings) -> None:
    for deliveries in evidence.deliveries.values():
        if deliveries.kind in _KEYED:
            _check_deliveries(findings, deliveries)
    _check_one_identity_each(evidence, findings)
    promised: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in evidence.dumps.hold_journal:
        if row.state != "ABORTED":
            promised[row.tenant_id, row.idempotency_key].append(row.hold_id)
    for (tenant, key), hold_ids in promised.items():
        if len(hold_ids) > 1:
            asked = evidence.deliveries.get(("hold", tenant, key))
            findings.add(
                "I4",
                f"one key has {len(hold_ids)} holds in the journal: {', '.join(hold_ids)}",
                *(asked.operations[:2] if asked else ()),
            )


def _check_deliveries(findings: Findings, deliveries: Deliveries) -> None:
    acknowledged = deliveries.acknowledged
    if not acknowledged:
        return
    first = min(acknowledged, key=lambda one: one.completed_at or one.invoked_at)
    answered_at = first.completed_at or first.invoked_at
    for one in deliveries.operations:
        if one is first or one.status is None:
            continue
        if not _same_request(first, one):
            _check_other_request(findings, first, one)
        elif one.outcome == "ok":
            _check_same_answer(findings, first, one)
            if one.invoked_at > answered_at and one.headers.get(REPLAYED) != "true":
                findings.add(
                    "I4", "a repeated request was answered as if it were the first", first, one
                )
        elif one.invoked_at > answered_at and not _may_pass(one):
            findings.add(
                "I4",
                f"a request that had been acknowledged was refused with {one.code}",
                first,
                one,
            )


def _may_pass(refused: Operation) -> bool:
    return refused.status in (429, 503) or refused.code == "idempotency_in_flight"


def _check_other_request(findings: Findings, first: Operation, other: Operation) -> None:
    if other.outcome == "ok":
        findings.add(
            "I4", "two different requests with one key were both acknowledged", first, other
        )
    elif other.invoked_at > (first.completed_at or first.invoked_at) and (
        other.code not in _MAY_COME_FIRST and not _may_pass(other)
    ):
        findings.add(
            "I4", f"another request with a used key was refused with {other.code}", first, other
        )


def _check_same_answer(findings: Findings, first: Operation, again: Operation) -> None:
    for name, one, two in (
        ("status", first.status, again.status),
        ("Location", first.headers.get("location"), again.headers.get("location")),
        ("body", _body(first), _body(again)),
    ):
        if one != two:
            findings.add(
                "I4",
                f"two deliveries of one request were answered with another {name}",
                first,
                again,
            )
            return
    if first.digest is not None and again.digest is not None and first.digest != again.digest:
        findings.add(
            "I4", "two deliveries of one request were answered with other bytes", first, again
        )


def _check_one_identity_each(evidence: Evidence, findings: Findings) -> None:
    """No two keys lead to the same hold or booking."""
    seen: dict[tuple[str, Any], Deliveries] = {}
    for deliveries in evidence.deliveries.values():
        if deliveries.kind not in ("hold", "book"):
            continue
        for one in deliveries.acknowledged:
            name = deliveries.kind, (one.answer or {}).get("id")
            other = seen.setdefault(name, deliveries)
            if other is not deliveries and name[1] is not None:
                invariant = "I9" if deliveries.kind == "hold" else "I5"
                findings.add(
                    invariant,
                    f"two keys were both answered with {name[1]}",
                    other.acknowledged[0],
                    one,
                )
                break


def _same_request(one: Operation, other: Operation) -> bool:
    return one.request == other.request and one.subject == other.subject


def _body(operation: Operation) -> str:
    return json.dumps(operation.answer)
