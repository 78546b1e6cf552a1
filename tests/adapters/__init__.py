"""The adapters, each against a stand-in of its vendor."""
