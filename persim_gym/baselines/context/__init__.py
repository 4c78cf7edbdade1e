"""CaDM's networks: a context of the last transitions, and models that know an agent by it."""
