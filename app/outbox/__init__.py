"""Facts: written in the transaction of the change they tell of, and their way out to a bus."""
