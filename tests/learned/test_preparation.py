"""Tasks and devices by name."""

from __future__ import annotations

import pytest

from persim_gym.learned.preparation import check_device, task_of


def test_devices_and_tasks_by_name() -> None:
    assert check_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="device 'nowhere' is not available"):
        check_device("nowhere")
    assert task_of("cartpole").name == "cartpole"
