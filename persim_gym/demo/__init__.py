"""The demo: everything once, and a page about it."""
