"""The rim over HTTP, with a tiny application behind it."""
