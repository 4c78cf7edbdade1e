"""How good a simulator is."""
