"""Declarative mapping modules: YAML and a message become order requests with provenance."""
