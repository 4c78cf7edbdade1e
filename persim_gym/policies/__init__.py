"""Policies: behaviours that record, scripted ones, those on disk, and those that ship."""

from persim_gym.policies.scripted import scripted_policy

__all__ = ["scripted_policy"]
