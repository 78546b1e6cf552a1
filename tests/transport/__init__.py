"""The transports: HTTP."""
