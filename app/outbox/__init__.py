"""Events: written in the transaction of the change they report, then published to a bus by the relay."""
