"""What the program reports about itself: log lines and metrics."""
