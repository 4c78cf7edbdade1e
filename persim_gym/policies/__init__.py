"""Policies on disk, those that ship with the package, and their training."""
