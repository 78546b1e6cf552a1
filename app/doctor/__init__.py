"""Looks a deployment over and says in words what endangers its promises, and what to do about it."""
