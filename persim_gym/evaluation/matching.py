"""Which agents of a simulator those of data are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.simulator import PerSim
from persim_gym.offline.transitions import Transitions


def agents_by_name(data: Transitions, sim: PerSim) -> NDArray[np.int64]:
    """Which agent of a simulator each agent of data is ``[N]``, -1 for those that are none.

    Raises:
        ValueError: If the simulator knows none of them.
    """
    if data.agent_names is None:
        found = np.arange(data.num_agents)
        found[found >= sim.num_agents] = -1
    else:
        names = {name: k for k, name in enumerate(sim.agent_names or ())}
        found = np.array([names.get(name, -1) for name in data.agent_names], dtype=np.int64)
    seen = sim.experience.seen
    if seen is not None:
        whole = np.append(seen, np.zeros(sim.num_agents - len(seen) + 1, dtype=np.bool_))
        found[~whole[found]] = -1
    if not (found[np.unique(data.agent)] >= 0).any():
        shown = [str(name) for name in data.agent_names or range(data.num_agents)]
        shown[3:] = ["..."] * (len(shown) > 3)
        raise ValueError(
            f"the simulator knows none of the data's agents ({', '.join(shown)}): "
            "agents are matched by name; adapt the simulator to new ones first"
        )
    return found
