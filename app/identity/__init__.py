"""Who is calling: a bearer token in, a `Principal` out. The only package that judges tokens."""
