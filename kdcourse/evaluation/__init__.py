"""How good, how similar, how large and how fast models are, and what an interval allows us to say of a difference."""
