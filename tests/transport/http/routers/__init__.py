"""Each router through HTTP."""
