"""Adapters to vendors: one file for each vendor, each implementing one port."""
