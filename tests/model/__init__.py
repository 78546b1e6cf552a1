"""An explicit-state model of the hold protocol, and the search that tries every order of its steps.

`python -m tests.model` (or `make model`) explores it; `python -m tests.model --help` shows the options.
docs/protocol.md explains the protocol, docs/decisions/0005-journaled-holds.md records the decision.

**What is one step.** One Redis script, or one PostgreSQL transaction (`locks` checks apart that row locks
make it atomic). Between two steps a process may be interrupted. A part is a process at one task: one that
is never scheduled again has crashed, one that is scheduled late was paused, so crashes and pauses are
unlimited. A second part with the same idempotency key is the client's retry, on another process. An
unknown outcome is a commit whose answer is lost, or one that may still take effect at any later time, or
never, while its sender goes on.

**What the model leaves out.** A flight has one class and a hold one seat on each flight; a script does
everything or nothing; a script reclaims any number of holds; there are no tenants, no prices, one shard.
Flights whose shape changes (write barriers) and a PostgreSQL of several servers are not modelled.
"""
