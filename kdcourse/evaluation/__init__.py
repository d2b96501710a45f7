"""How good, how alike, how large, how fast a model is, and what an interval allows to be said of it."""
