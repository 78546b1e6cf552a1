"""Keep seats for a customer: atomically in Redis, promised in Postgres before the client is answered."""
