"""The page people work with."""
