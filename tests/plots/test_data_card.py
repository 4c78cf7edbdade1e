"""The figure of a data card: what is drawn is what the card says."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from minari.data_collector import EpisodeBuffer
from PIL import Image

from persim_gym.offline import FunctionPolicy, recorder
from persim_gym.offline.card_making import data_card
from persim_gym.offline.cards import DataCard
from persim_gym.plots.data_card import _percent, card_figure
from persim_gym.plots.style import DARK, LIGHT, save


def card_of(task: str, *args: Any, **kwargs: Any) -> DataCard:
    return data_card(recorder.record(task, *args, **{"progress": False, **kwargs}))


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.texts]


def labels(figure: Any) -> list[tuple[str, str]]:
    return [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "returns", "planes"),
    [
        ("mountain-car", [("gravity", "return")], 1),
        ("cartpole", [("force", "return"), ("length", ""), ("force", "length")], 2),
        ("half-cheetah", [("mass", "return"), ("damping", ""), ("mass", "damping")], 3),
    ],
)
def test_every_task(task: str, returns: Any, planes: int) -> None:
    card = card_of(task, agents=40, max_episode_steps=12)
    figure = card_figure(card)
    assert labels(figure)[: len(returns)] == returns
    drawn = [axes for axes in figure.axes if "visited" in axes.get_title()]
    assert len(drawn) == planes
    titles = [axes.get_title() for axes in figure.axes]
    assert [c.name for c in card.coordinates] == [t for t in titles if t][-len(card.coordinates) :]


@pytest.mark.slow
def test_points_are_the_episodes() -> None:
    card = card_of("cartpole", agents=30)
    first, second, landscape = card_figure(card).axes[:3]
    (points, rings) = (c.get_offsets() for c in first.collections)
    expected = np.stack([card.episodes.covariates[:, 0], card.episodes.returns], axis=1)
    np.testing.assert_allclose(points, expected)
    np.testing.assert_allclose(rings, expected[:5])
    assert first.lines[0].get_xdata().tolist() == sorted(first.lines[0].get_xdata())
    assert second.collections[0].get_offsets()[:, 0].tolist() == pytest.approx(
        card.episodes.covariates[:, 1].tolist()
    )
    order = np.argsort(card.episodes.returns, kind="stable")
    np.testing.assert_allclose(
        landscape.collections[0].get_offsets(), card.episodes.covariates[order]
    )


def test_ends_are_told_by_colour_and_number() -> None:
    push = FunctionPolicy(lambda obs: np.ones(len(obs), dtype=int), name="push")
    card = card_of("cartpole", push, agents=[0, 2], max_episode_steps=12)
    figure = card_figure(card)
    shown = {text.get_text(): text.get_color() for text in figure.texts}
    assert shown["time limit 1"] == LIGHT.true
    assert shown["pole fell 1"] == LIGHT.learned
    colors = [c.get_facecolor()[0][:3].tolist() for c in figure.axes[0].collections[:2]]
    assert list(to_rgba(LIGHT.true)[:3]) in colors
    assert list(to_rgba(LIGHT.learned)[:3]) in colors


@pytest.mark.slow
def test_the_heading_says_what_it_is() -> None:
    card = card_of("half-cheetah", agents=3, max_episode_steps=4)
    shown = texts(card_figure(card))
    assert "persim/half-cheetah/random-v0" in shown
    assert any("3 agents" in text and "12 transitions" in text for text in shown)
    assert any("4 steps each" in text for text in shown)
    assert any("rings: test agents" in text for text in shown)
    # Where all episodes are of one length, a histogram of returns says more than one of lengths.
    assert ("return", "episodes") in labels(card_figure(card))
    uneven = card_of("cartpole", agents=9)
    assert ("steps of an episode", "episodes") in labels(card_figure(uneven))


@pytest.mark.slow
def test_it_is_written_in_every_format(tmp_path: Path) -> None:
    figure = card_figure(card_of("mountain-car", agents=20, max_episode_steps=9))
    with Image.open(save(figure, tmp_path / "card.png")) as picture:
        assert picture.width == 2000
        assert len(picture.convert("RGB").getcolors(10**6)) > 50
    assert save(figure, tmp_path / "card.pdf").read_bytes().startswith(b"%PDF")
    assert "gravity" in save(figure, tmp_path / "new" / "card.svg").read_text()
    with pytest.raises(ValueError, match="\\.png, \\.svg or \\.pdf"):
        save(figure, tmp_path / "card.jpg")


def test_themes_differ() -> None:
    card = card_of("mountain-car", agents=3, max_episode_steps=9)
    light, dark = card_figure(card), card_figure(card, theme=DARK)
    assert light.get_facecolor() == to_rgba(LIGHT.paper)
    assert dark.get_facecolor() == to_rgba(DARK.paper)


@pytest.mark.slow
def test_data_of_other_origin_and_of_one_episode() -> None:
    made = gym.make("CartPole-v1")
    buffer = EpisodeBuffer(
        seed=0,
        options=None,
        observations=np.zeros((3, 4), dtype=np.float32),
        actions=np.array([0, 1]),
        rewards=np.array([0.0, 0.0]),
        terminations=np.array([False, False]),
        truncations=np.array([False, False]),
    )
    with pytest.warns(UserWarning, match="is set to None"):
        dataset = minari.create_dataset_from_buffers("other-v0", [buffer], env=made)
    figure = card_figure(data_card(dataset))
    assert ("return", "episodes") in labels(figure)
    assert not any("rings" in text for text in texts(figure))
    single = card_of("cartpole", agents=1)
    assert len(card_figure(single).axes) == 3 + 2 + 1 + 4


@pytest.mark.slow
def test_no_test_agents_no_rings() -> None:
    card = dataclasses.replace(card_of("cartpole", agents=3), test_agents=0)
    assert len(card_figure(card).axes[0].collections[1].get_offsets()) == 0


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0.0%"),
        (1e-6, "under 0.1%"),
        (0.034, "3.4%"),
        (0.5, "50%"),
        (0.995, "99.5%"),
        (1, "100%"),
    ],
)
def test_shares(share: float, text: str) -> None:
    assert _percent(share) == text
