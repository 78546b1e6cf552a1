"""The outbox: order, relay, lease, hold-back and dead letters."""
