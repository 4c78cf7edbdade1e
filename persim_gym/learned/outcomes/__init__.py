"""Reward and end of an episode, learned from data."""
