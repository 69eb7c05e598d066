"""Conditions: what the generator is asked for. This room knows nothing of networks."""
