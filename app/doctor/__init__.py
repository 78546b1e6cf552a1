"""Checks a deployment: says what endangers it, why, and how to fix it."""
