"""The three outside parties, for the demo, the tests and the benchmarks."""
