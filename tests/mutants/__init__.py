"""Does the net hold? Each mutant is one fault planted in the real code, and has to be caught.

A mutant is a patch in patches/, whose first line says what it breaks and which invariant. The runner
plants one at a time in a copy of the tree, never in the tree itself, and asks the catchers, from the
cheapest: the tests that are named for it, the simulator, the fault harness.
"""
