"""From a request to its endpoint: the edge, the route table, the order of refusals, the arguments."""
