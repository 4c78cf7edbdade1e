"""Learned simulators: the network, its fit, prediction, files, and the adapter to SB3."""
