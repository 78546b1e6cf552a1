"""The rim: how the outside reaches the services. A transport parses, calls one service, renders."""
