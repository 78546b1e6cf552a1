"""Problem documents, and the violations in them."""
