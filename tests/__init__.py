"""The test suite: real servers, and tests at stable interfaces."""
