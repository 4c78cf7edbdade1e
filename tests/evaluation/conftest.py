"""Tests here write data sets."""

from tests.datasets import own_datasets

__all__ = ["own_datasets"]
