"""Parameterised environments: populations of agents, tasks, true dynamics and the three shells."""

from persim_gym.envs.env import SimEnv
from persim_gym.envs.parallel import SimParallelEnv
from persim_gym.envs.populations import Covariate, CovariateTable, Population
from persim_gym.envs.suites import (
    SUITES,
    Suite,
    find_suite,
    make_env,
    make_parallel_env,
    make_vector_env,
)
from persim_gym.envs.vector import SimVectorEnv

__all__ = [
    "SUITES",
    "Covariate",
    "CovariateTable",
    "Population",
    "SimEnv",
    "SimParallelEnv",
    "SimVectorEnv",
    "Suite",
    "find_suite",
    "make_env",
    "make_parallel_env",
    "make_vector_env",
]
