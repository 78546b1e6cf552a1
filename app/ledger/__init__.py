"""Every seat's way on one flight, told from what others wrote down. Reads only."""
