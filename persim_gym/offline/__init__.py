"""Offline data: recordings, Minari data sets, tables, the authors' files, and their cards."""

from persim_gym.offline.card_making import data_card
from persim_gym.offline.cards import DataCard
from persim_gym.offline.collection import record_all
from persim_gym.offline.declared import declare, keep_declared
from persim_gym.offline.reading import read_transitions
from persim_gym.offline.recorder import record
from persim_gym.offline.tables.reading import read_table, read_table_report
from persim_gym.offline.tables.report import TableReport
from persim_gym.offline.transitions import Transitions
from persim_gym.policies.behaviours import EpsilonMixture, FunctionPolicy, RandomPolicy, as_policy
from persim_gym.policies.paper_behaviours import BEHAVIOURS, NearestPolicy

__all__ = [
    "BEHAVIOURS",
    "DataCard",
    "EpsilonMixture",
    "FunctionPolicy",
    "NearestPolicy",
    "RandomPolicy",
    "TableReport",
    "Transitions",
    "as_policy",
    "data_card",
    "declare",
    "keep_declared",
    "read_table",
    "read_table_report",
    "read_transitions",
    "record",
    "record_all",
]
