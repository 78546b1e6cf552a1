"""Valid by default, one keyword to vary."""
