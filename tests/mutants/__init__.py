"""Mutation testing of the protocol: each mutant is one mistake planted in the real code, and must be caught.

A mutant is a patch in patches/; its first line names the invariant that it breaks, and how. The runner
plants one at a time in a copy of the tree, never in the tree itself, and runs the catchers, the cheapest
first: the tests named for it, the simulator, the fault harness.
"""
