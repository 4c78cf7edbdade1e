"""Angles, walls and the past found in data; features and scaled changes, and back."""
