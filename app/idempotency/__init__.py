"""A request sent twice has one effect and one answer."""
