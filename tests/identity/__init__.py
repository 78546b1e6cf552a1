"""Tokens: keys, profiles and verification."""
