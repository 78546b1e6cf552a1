"""Make a hold durable: one Postgres transaction that either sells every segment or nothing."""
