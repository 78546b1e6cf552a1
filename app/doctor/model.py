"""A finding of the doctor, and the verdict over all findings."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    DANGER = "danger"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: `what` was found, `why` it matters and the `fix`. The last two are empty at level OK."""

    level: Level
    subject: str
    what: str
    why: str = ""
    fix: str = ""

    @property
    def line(self) -> str:
        return f"{self.level:<7}  {self.subject}: " + ". ".join(
            part[0].upper() + part[1:] if at else part
            for at, part in enumerate(filter(None, (self.what, self.why, self.fix)))
        )


def ok(subject: str, what: str) -> Finding:
    return Finding(Level.OK, subject, what)


def warning(subject: str, what: str, why: str, fix: str) -> Finding:
    return Finding(Level.WARNING, subject, what, why, fix)


def danger(subject: str, what: str, why: str, fix: str) -> Finding:
    return Finding(Level.DANGER, subject, what, why, fix)


def verdict(findings: Sequence[Finding]) -> str:
    counts = {level: sum(found.level is level for found in findings) for level in Level}
    if counts[Level.DANGER]:
        return (
            f"danger: {counts[Level.DANGER]} of {len(findings)} findings endanger holds or bookings"
        )
    if counts[Level.WARNING]:
        return f"ok, with {counts[Level.WARNING]} warnings among {len(findings)} findings"
    return f"ok: all {len(findings)} findings"


def is_dangerous(findings: Sequence[Finding]) -> bool:
    return any(found.level is Level.DANGER for found in findings)
