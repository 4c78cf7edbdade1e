from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from persim_gym.learned.closed_form import agent_sums as statistics
from persim_gym.learned.closed_form.agent_sums import (
    Rows,
    Statistics,
    gather,
    memory,
    packed_size,
    unpack,
)
from tests.learned.closed_form.rows import BASIS, features, some_rows


def by_loop(rows: Rows) -> Statistics:
    p, d = BASIS.size, rows.target.shape[1]
    gram = torch.zeros(rows.num_agents, rows.choices, p, p, dtype=torch.float64)
    cross = torch.zeros(rows.num_agents, rows.choices, p, d, dtype=torch.float64)
    square = torch.zeros(rows.num_agents, d, dtype=torch.float64)
    count = torch.zeros(rows.num_agents, dtype=torch.long)
    phi = features(rows.inputs)
    for t in range(len(rows)):
        n, a = rows.agent[t], rows.choice[t]
        gram[n, a] += torch.outer(phi[:, t], phi[:, t])
        cross[n, a] += torch.outer(phi[:, t], rows.target[t])
        square[n] += rows.target[t] ** 2
        count[n] += 1
    return Statistics(gram, cross, square, count)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=8).filter(sum),
    st.integers(1, 3),
    st.integers(0, 999),
    st.booleans(),
    st.sampled_from([60, 4_000_000]),
)
def test_sums_are_those_of_a_plain_loop(
    lengths: list[int], choices: int, seed: int, shuffle: bool, entries: int
) -> None:
    rows = some_rows(lengths, choices, seed=seed, shuffle=shuffle)
    with pytest.MonkeyPatch.context() as patch:  # many small batches, or one
        patch.setattr(statistics, "ENTRIES_AT_ONCE", entries)
        found = gather(rows, features)
    expected = by_loop(rows)
    torch.testing.assert_close(unpack(found.gram, BASIS.size), expected.gram)
    torch.testing.assert_close(found.cross, expected.cross)
    torch.testing.assert_close(found.square, expected.square)
    torch.testing.assert_close(found.count, expected.count)
    assert found.features == BASIS.size
    assert found.num_agents == len(lengths)


def test_sums_of_parts_add_up() -> None:
    rows = some_rows([4, 7, 0, 5])
    early = torch.arange(len(rows)) % 2 == 0
    whole = gather(rows, features)
    both = gather(rows.select(early), features) + gather(rows.select(~early), features)
    for name in ("gram", "cross", "square", "count"):
        torch.testing.assert_close(getattr(both, name), getattr(whole, name))


def test_agents_are_numbered_anew() -> None:
    rows = some_rows([4, 7, 0, 5], shuffle=True)
    wanted = torch.tensor([3, 1])
    found = gather(rows.of_agents(wanted), features)
    expected = gather(rows, features).select(wanted)
    torch.testing.assert_close(found.gram, expected.gram)
    torch.testing.assert_close(found.count, torch.tensor([5, 7]))


def test_single_precision_is_summed_in_double() -> None:
    rows = some_rows([2000])
    single = Rows(
        rows.agent, rows.inputs.float(), rows.choice, rows.target.float(), 1, rows.choices
    )
    double = Rows(
        rows.agent,
        rows.inputs.float().double(),
        rows.choice,
        rows.target.float().double(),
        1,
        rows.choices,
    )
    found = gather(single, features)
    assert found.gram.dtype == torch.float64
    torch.testing.assert_close(found.gram, gather(double, features).gram, rtol=1e-13, atol=1e-13)


def test_packing_and_memory() -> None:
    full = torch.arange(9.0).view(3, 3)
    full = full + full.T
    packed = full[torch.tril_indices(3, 3)[0], torch.tril_indices(3, 3)[1]]
    assert len(packed) == packed_size(3) == 6
    torch.testing.assert_close(unpack(packed, 3), full)
    assert memory(5, 2, 3) == 8 * 5 * 2 * 6
