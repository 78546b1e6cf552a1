"""Histories that once broke a guarantee, each headed by its trace."""
