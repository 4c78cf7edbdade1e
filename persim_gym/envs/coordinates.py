"""What the coordinates of the observations are called, for tables and figures."""

from __future__ import annotations

#: Names of coordinates with their units, by task.
COORDINATES: dict[str, tuple[str, ...]] = {
    "mountain-car": ("position", "velocity"),
    "cartpole": ("position (m)", "velocity (m/s)", "angle (rad)", "angular velocity (rad/s)"),
    "half-cheetah": (
        "forward velocity (m/s)", "height (m)", "pitch (rad)", "hind thigh (rad)",
        "hind shin (rad)", "hind foot (rad)", "front thigh (rad)", "front shin (rad)",
        "front foot (rad)", "v x (m/s)", "v z (m/s)", "v pitch (rad/s)", "v hind thigh (rad/s)",
        "v hind shin (rad/s)", "v hind foot (rad/s)", "v front thigh (rad/s)",
        "v front shin (rad/s)", "v front foot (rad/s)",
    ),
}  # fmt: skip


def coordinate_names(task_name: str, d: int) -> tuple[str, ...]:
    """Names of a task's ``d`` coordinates; numbers for a task of which none are known."""
    names = COORDINATES.get(task_name, ())
    return names if len(names) == d else tuple(f"coordinate {i}" for i in range(d))
