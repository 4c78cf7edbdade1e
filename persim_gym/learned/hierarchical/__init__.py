"""Each agent's own polynomial under a population's Gaussian prior."""
