"""Planning in any dynamics: random shooting, CEM, and the MPC policy over them."""

from persim_gym.planning.cem import CEM
from persim_gym.planning.mpc import MPC
from persim_gym.planning.objective import Objective, Shaping
from persim_gym.planning.planner import Plan, Planner
from persim_gym.planning.shooting import RandomShooting

__all__ = ["CEM", "MPC", "Objective", "Plan", "Planner", "RandomShooting", "Shaping"]
