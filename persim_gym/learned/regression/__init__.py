"""Regressions that families are made of: orthonormal terms, a population's Gaussian prior."""
