"""The demo: record, fit, evaluate, plan, train, and a page about it."""

from persim_gym.demo.run import rebuild_page, run_demo

__all__ = ["rebuild_page", "run_demo"]
