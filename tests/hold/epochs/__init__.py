"""One life of the Redis data: failure detection, suspicion, rebuild."""
