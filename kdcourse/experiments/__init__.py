"""Arms, seeds and schemes: paired comparisons, the ledger that keeps them, runs in the background, searches."""
