"""Learned environments: the shells, and the guard that they run in."""
