"""Noise of process and observations, sampled steps, predictive intervals."""
