"""One life of the Redis data: which one is current, how its end is noticed, and how the next is loaded."""
