"""What exists to be sold: dated flights, their nested fare classes, and what was sold of them."""
