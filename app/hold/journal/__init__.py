"""The Postgres half of a hold: what was promised, in `hold_journal`."""
