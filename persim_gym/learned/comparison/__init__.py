"""Families compared as they will be used, on what is held out of every agent, or mixed."""
