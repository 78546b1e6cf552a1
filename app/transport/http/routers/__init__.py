"""One module for each feature: its endpoints, and the Protocol of the service that they call."""
