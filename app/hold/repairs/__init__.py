"""Periodic jobs that finish, expire, compare and mend what requests left behind."""
