"""The named transforms that a module's `do` may use: pure functions on values, one kind a file."""
