"""Transports: how clients reach the services. A transport parses, calls one service and renders."""
