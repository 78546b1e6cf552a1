"""The deterministic simulator: runs the shipped code of the hold protocol under a seeded scheduler.

Redis, PostgreSQL, the network, the clocks and the event loop are simulated; the code of app/ is the real one.
A seed decides every order of steps and every fault, so that a failing seed replays exactly.
"""
