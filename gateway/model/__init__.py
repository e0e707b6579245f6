"""The nouns of the trade; the standard library only."""
