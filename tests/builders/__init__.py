"""Test data builders: valid by default; a keyword varies one thing."""
