"""Planning in any dynamics: the searches, how one is chosen, and the MPC policy over them."""

from persim_gym.planning.categorical import CategoricalCEM
from persim_gym.planning.cem import CEM
from persim_gym.planning.icem import ICEM
from persim_gym.planning.mpc import MPC
from persim_gym.planning.mppi import MPPI
from persim_gym.planning.objective import Objective, Shaping, Upright
from persim_gym.planning.planner import Plan, Planner
from persim_gym.planning.planner_choice import PLANNER_NAMES, PlannerChoice, choose_planner
from persim_gym.planning.proposal import Proposal
from persim_gym.planning.recommendation import Course, Recommendation
from persim_gym.planning.recommending import foresee, recommend, recommend_all
from persim_gym.planning.shooting import RandomShooting

__all__ = [
    "CEM",
    "ICEM",
    "MPC",
    "MPPI",
    "PLANNER_NAMES",
    "CategoricalCEM",
    "Course",
    "Objective",
    "Plan",
    "Planner",
    "PlannerChoice",
    "Proposal",
    "RandomShooting",
    "Recommendation",
    "Shaping",
    "Upright",
    "choose_planner",
    "foresee",
    "recommend",
    "recommend_all",
]
