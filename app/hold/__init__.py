"""Keep seats for a customer: atomically in Redis, promised in Postgres before anyone is told."""
