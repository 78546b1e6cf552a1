"""The schedule: dated flights that the airline puts and patches, or imports from files."""
