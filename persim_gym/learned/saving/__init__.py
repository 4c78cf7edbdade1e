"""Simulators on disk: files, what of them fits together, and fits that go on after a kill."""
