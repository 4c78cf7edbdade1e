"""What the authors' published code does, measured: a mark beside the tables, no part of them.

The code of March 2021 was run on today's libraries, with its own settings, five members and 300
epochs, and judged by its own protocol, which is nearly that of this benchmark. Its data are of the
same kind as the random data here (500 agents, one recording each), not the same recordings.
"""

from __future__ import annotations

from dataclasses import dataclass

TITLE = "Authors' code (measured)"

#: What has to be said wherever these numbers stand.
CAPTION = (
    f"{TITLE}: the authors' published code, run on other recordings of the same kind and judged "
    "by its own protocol, which is nearly the same. One fit each, so without a standard "
    "deviation over seeds; a mark to compare with, not part of any statistics."
)


@dataclass(frozen=True, slots=True)
class Measured:
    """Numbers of the five test agents, in their order.

    Attributes:
        values: One for each agent.
        sd: Standard deviations over episodes; ``()`` if they were not measured.
        note: How it was measured.
    """

    values: tuple[float, ...]
    sd: tuple[float, ...] = ()
    note: str = ""


#: Open-loop RMSE over 50 steps after 10, on random data, 200 episodes of each agent.
RMSE = {
    "mountain-car": Measured((0.00259, 0.00488, 0.00558, 0.00185, 0.00095)),
    "cartpole": Measured((0.0174, 0.0076, 0.0082, 0.0050, 0.4681)),
}
#: Their geometric means, from errors that were not rounded.
RMSE_ALL = {"mountain-car": 0.00261, "cartpole": 0.0191}
#: Median R2 of the same.
R2 = {
    "mountain-car": Measured((1.000, 0.999, 0.999, 1.000, 1.000)),
    "cartpole": Measured((0.974, 0.999, 0.999, 0.999, -0.02)),
}
#: Returns of its MPC, planned in its simulators of random data.
MPC = {
    "mountain-car": Measured(
        (-53, -61, -119, -215, -210), note="fitted for 50 epochs; one or two episodes, a hint"
    ),
    "cartpole": Measured((200, 151, 117, 174, 108), note="one or two episodes, a hint"),
}
#: Returns of its planner on the exact dynamics.
TRUE_MPC = {
    "mountain-car": Measured(
        (-54.0, -71.6, -107.1, -194.8, -198.6), (3.1, 10.3, 20.4, 29.4, 25.8), "20 episodes"
    ),
    "cartpole": Measured((200.0, 200.0, 199.3, 199.4, 200.0), note="20 episodes"),
}
#: Returns of the test policies that come with it.
TEST_POLICY = {
    "mountain-car": Measured(
        (-99, -139, -117, -106, -156),
        note="200 episodes; on agents 0 to 2 some never arrive",
    ),
    "cartpole": Measured((115, 198, 198, 192, 198), note="200 episodes"),
    "half-cheetah": Measured((3180, 3399, -377, 3420, 4982), note="10 episodes"),
}
