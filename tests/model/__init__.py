"""The hold protocol as an explicit-state model, and the search that tries every order of its steps.

`python -m tests.model` (or `make model`) explores it; `python -m tests.model --help` says what else it
can do. docs/protocol.md explains the protocol, docs/decisions/0005-journaled-holds.md decides it.

**What is one step.** One Redis script; one Postgres transaction (its row locks make it so, which
`locks` checks apart). Whatever lies between two of them may be interrupted. A part that is never
scheduled again is a crashed process, one that is scheduled late a frozen one, so that crashes and
freezes are unlimited. A second part with the same key is the client's retry, on another process. An
unknown outcome is a commit whose answer is lost, or one that may still land, at any time or never,
while its sender goes on.

**What is left out.** One class a flight and one seat a line; scripts that do everything or nothing;
takings-back without a bound; no tenants, no prices; one shard. Flights that change their shape
(fences) and the Postgres of more than one server are not here.
"""
