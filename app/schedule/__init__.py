"""What flies: dated flights put and patched by the airline, and whole schedules loaded from files."""
