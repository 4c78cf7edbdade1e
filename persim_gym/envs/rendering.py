"""Drawing of the three tasks from an observation and the agent's covariates.

True environments, learned environments and side-by-side videos all draw with this code, so that
what differs between two pictures is the state and nothing else. MountainCar and CartPole are
painted with pygame on plain memory (no display is ever opened for an array of pixels),
HalfCheetah is posed and rendered off-screen by MuJoCo. Both libraries are imported when a
renderer is made, never with this module.
"""

from __future__ import annotations

import math
import os
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from persim_gym.envs.cart_pole import MAX_ANGLE, MAX_POSITION
from persim_gym.envs.mountain_car import GOAL, LEFT_WALL

if TYPE_CHECKING:
    import pygame

#: A picture ``[height, width, 3]``, red, green and blue.
Frame: TypeAlias = NDArray[np.uint8]

_Color: TypeAlias = tuple[int, int, int]
_Point: TypeAlias = tuple[float, float]

WIDTH, HEIGHT = 600, 400  # pixels

# One palette for all three tasks: cool background, warm colours for what moves.
_SKY_TOP: Final = (214, 228, 238)
_SKY_BOTTOM: Final = (248, 245, 237)
_INK: Final = (47, 54, 61)
_INK_LIGHT: Final = (104, 114, 124)
_PAPER: Final = (252, 251, 248)
_WARM: Final = (209, 96, 61)
_WARM_DARK: Final = (168, 70, 42)
_COOL: Final = (58, 92, 125)
_COOL_DARK: Final = (40, 66, 92)
_GOLD: Final = (226, 168, 45)
_STEEL: Final = (196, 203, 209)


class Renderer(Protocol):
    """Draws states of one task."""

    def draw(
        self,
        obs: NDArray[Any],
        covariates: Mapping[str, float],
        *,
        x: float = 0.0,
        label: str = "",
    ) -> Frame:
        """Draw one state.

        Args:
            obs: Observation ``[d]``.
            covariates: The agent's covariates, for the drawing and the caption. A covariate that
                is not given is drawn with its default and left out of the caption.
            x: Position of the root in metres, where the observation leaves it out (HalfCheetah).
            label: What or whom the picture shows, such as ``"agent 3"``.

        Returns:
            A fresh picture ``[400, 600, 3]``.

        Raises:
            ValueError: If ``obs`` has another shape, or a number is not finite.
        """

    def close(self) -> None:
        """Free what the renderer holds; harmless when repeated."""


def make_renderer(task_name: str) -> Renderer:
    """Make the renderer of a task.

    Args:
        task_name: ``"mountain-car"``, ``"cartpole"`` or ``"half-cheetah"``.

    Raises:
        ValueError: If there is no such task.
        RuntimeError: If HalfCheetah is asked for and OpenGL can not be initialised.
    """
    renderers: dict[str, Callable[[], Renderer]] = {
        "mountain-car": _MountainCarRenderer,
        "cartpole": _CartPoleRenderer,
        "half-cheetah": _HalfCheetahRenderer,
    }
    if task_name not in renderers:
        raise ValueError(f"no renderer for task {task_name!r}: there are {', '.join(renderers)}")
    return renderers[task_name]()


class Window:
    """A window on the screen that shows the frames of any renderer.

    It opens with the first frame. A user who closes it ends the showing and not the program:
    later frames are dropped at once.

    Args:
        title: The window's title.
        fps: Frames per second that :meth:`show` keeps to.
    """

    def __init__(self, title: str, fps: int) -> None:
        self._title = title
        self._fps = fps
        self._pygame: ModuleType | None = None
        self._window: pygame.Window | None = None
        self._clock: pygame.time.Clock | None = None
        self._dismissed = False

    def show(self, frame: Frame) -> None:
        """Show a frame, let the window react to the user, and wait until the frame is due.

        Args:
            frame: Picture ``[height, width, 3]``.

        Raises:
            ValueError: If ``frame`` is no picture.
            RuntimeError: If there is no display.
        """
        _check_frame(frame, "frame")
        if self._dismissed:
            return
        height, width = frame.shape[:2]
        if self._window is None:
            self._open(width, height)
        assert self._pygame is not None
        assert self._window is not None
        assert self._clock is not None
        if self._window.size != (width, height):
            self._window.size = (width, height)
        picture = self._pygame.image.frombuffer(frame.tobytes(), (width, height), "RGB")
        self._window.get_surface().blit(picture, (0, 0))
        self._window.flip()
        self._clock.tick(self._fps)
        for event in self._pygame.event.get():
            if event.type != self._pygame.WINDOWCLOSE:
                continue
            if event.window == self._window:
                self._dismissed = True
            else:  # Another window of this program will want to know.
                self._pygame.event.post(event)
        if self._dismissed:
            self.close()

    def close(self) -> None:
        """Close the window; harmless when repeated or never opened."""
        # The video system stays up: another window, ours or the user's, may live in it.
        if self._window is not None:
            self._window.destroy()
            self._window = None

    def _open(self, width: int, height: int) -> None:
        pygame = _import_pygame()
        remedy = (
            "no display to show a window on: use render_mode='rgb_array', or set "
            "SDL_VIDEODRIVER=dummy to run without looking"
        )
        try:
            pygame.display.init()
        except pygame.error as error:
            raise RuntimeError(remedy) from error
        # Without a screen SDL falls back to drawing into the void, which nobody asked for.
        asked = {os.environ.get("SDL_VIDEODRIVER"), os.environ.get("SDL_VIDEO_DRIVER")}
        if pygame.display.get_driver() == "offscreen" and "offscreen" not in asked:
            pygame.display.quit()
            raise RuntimeError(remedy)
        self._pygame = pygame
        self._window = pygame.Window(self._title, (width, height))
        self._clock = pygame.time.Clock()


def side_by_side(
    left: Frame, right: Frame, *, left_title: str = "true", right_title: str = "learned"
) -> Frame:
    """Put two pictures next to each other, each under its title.

    Args:
        left: Picture ``[height, width, 3]``.
        right: Picture of the same shape.
        left_title: Title of the left picture.
        right_title: Title of the right picture.

    Returns:
        A fresh picture ``[height + 32, 2 * width + 8, 3]``.

    Raises:
        ValueError: If one is no picture or the shapes differ.
    """
    _check_frame(left, "left")
    _check_frame(right, "right")
    if left.shape != right.shape:
        raise ValueError(f"left and right must have one shape, got {left.shape} and {right.shape}")
    pygame = _import_pygame()
    pygame.font.init()
    bar, gap = 32, 8
    height, width = left.shape[:2]
    surface = pygame.Surface((2 * width + gap, height + bar), 0, 24)
    surface.fill(_PAPER)
    font = pygame.font.Font(None, 24)
    for offset, title, color in ((0, left_title, _COOL), (width + gap, right_title, _WARM)):
        pygame.draw.rect(surface, color, (offset, bar - 3, width, 3))
        text = font.render(title, True, color)
        surface.blit(text, (offset + (width - text.get_width()) // 2, 7))
    frame = _to_frame(surface)
    frame[bar:, :width] = left
    frame[bar:, width + gap :] = right
    return frame


def write_video(path: str | os.PathLike[str], frames: Iterable[Frame], fps: int) -> None:
    """Write pictures as a video.

    The file appears whole or not at all: it is written under another name in the same folder and
    put in its place when complete, so an interrupted run never leaves half a video, nor destroys
    an older one.

    Args:
        path: Where to write; ``.mp4`` or ``.gif`` decides the format. Missing folders are made.
        frames: Pictures ``[height, width, 3]``, all of one shape; taken one by one.
        fps: Frames per second, at most 50 for a GIF.

    Raises:
        ValueError: If the suffix, the frame rate or a frame is unfit, or there is no frame.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in (".mp4", ".gif"):
        raise ValueError(f"a video is written as .mp4 or .gif, got {str(target)!r}")
    if fps <= 0:
        raise ValueError(f"fps must be positive, got {fps}")
    if suffix == ".gif" and fps > 50:
        # GIF counts in hundredths of a second, and viewers slow down what is shorter than two.
        raise ValueError(f"a GIF plays at most 50 frames per second, got {fps}: write a .mp4")
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise ValueError("a video needs at least one frame")
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile, whose files are readable by their owner only, and would stay so.
    part = target.with_name(f".{target.stem}.{uuid.uuid4().hex}{suffix}")
    try:
        _encode(part, chain([first], remaining), fps)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _encode(path: Path, frames: Iterable[Frame], fps: int) -> None:
    import imageio.v2 as imageio

    options: dict[str, Any]
    if path.suffix == ".gif":
        options = {"mode": "I", "duration": 1000 / fps, "loop": 0}
    else:
        # macro_block_size 1: by default imageio stretches pictures to multiples of 16.
        options = {"fps": fps, "codec": "libx264", "quality": 8, "macro_block_size": 1}
    shape: tuple[int, ...] | None = None
    writer: Any = imageio.get_writer(path, **options)
    # Not `with`, which leaves the encoder running (and writing) when an exception passes.
    try:
        for frame in frames:
            _check_frame(frame, "frame")
            shape = shape or frame.shape
            if frame.shape != shape:
                raise ValueError(f"frames must have one shape, got {shape} and {frame.shape}")
            if path.suffix == ".mp4":
                # Players expect colour at half resolution, which needs even sides.
                odd = ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0))
                frame = np.pad(frame, odd, mode="edge")
            writer.append_data(frame)
    finally:
        writer.close()


class _MountainCarRenderer:
    """MountainCar: the hill, the flag at the goal, the car on its two wheels."""

    _LEFT, _BOTTOM, _SCALE = -1.3, -0.13, 300.0  # world at the lower left corner, pixels per unit
    _WHEEL, _AXLES = 0.027, 0.1  # wheel radius, distance of the axles
    _BODY = (
        (-0.086, 0.002), (-0.084, -0.008), (0.086, -0.008), (0.092, 0.004), (0.09, 0.022),
        (0.082, 0.032), (0.048, 0.039), (0.022, 0.07), (0.012, 0.074), (-0.036, 0.074),
        (-0.045, 0.07), (-0.064, 0.042), (-0.084, 0.036), (-0.088, 0.028),
    )  # fmt: skip
    _WINDOWS = (
        ((0.036, 0.041), (0.016, 0.066), (0.0, 0.066), (0.0, 0.041)),
        ((-0.009, 0.041), (-0.009, 0.066), (-0.036, 0.066), (-0.052, 0.041)),
    )
    _GLASS = (222, 236, 242)
    _HILL, _GRASS, _UNDERGROUND = (121, 156, 138), (92, 130, 112), (150, 178, 162)

    def __init__(self) -> None:
        self._canvas = canvas = _Canvas(self._LEFT, self._BOTTOM, self._SCALE)
        canvas.sky()
        reach = np.linspace(self._LEFT, self._LEFT + WIDTH / self._SCALE, 301)
        for height, wave, phase, color in (
            (0.62, 2.3, 0.4, (205, 219, 226)),
            (0.44, 3.1, 2.0, (188, 206, 211)),
        ):
            ridge = height + 0.09 * np.sin(wave * reach + phase) + 0.03 * np.sin(7.0 * reach)
            canvas.polygon(color, self._down_to_bottom(reach, ridge))
        hill = np.array([_hill(x) for x in reach.tolist()])
        canvas.polygon(self._GRASS, self._down_to_bottom(reach, hill))
        canvas.polygon(self._HILL, self._down_to_bottom(reach, hill - 0.018))
        # The wall stands where the bumper of a stopped car is.
        bumper = LEFT_WALL - 0.085
        canvas.line(
            _INK_LIGHT, (bumper, _hill(bumper) - 0.01), (bumper, _hill(bumper) + 0.1), 0.015
        )
        top = _hill(GOAL)
        canvas.line(_INK_LIGHT, (GOAL, top - 0.01), (GOAL, top + 0.16), 0.009)
        canvas.polygon(_GOLD, [(GOAL, top + 0.16), (GOAL + 0.09, top + 0.128), (GOAL, top + 0.096)])
        canvas.keep_as_background()

    def draw(
        self,
        obs: NDArray[Any],
        covariates: Mapping[str, float],
        *,
        x: float = 0.0,
        label: str = "",
    ) -> Frame:
        """See :meth:`Renderer.draw`; the arrow under the car is gravity, to scale."""
        position = _checked(obs, ("position", "velocity"), x)[0].item()
        caption = _caption(covariates)
        gravity = covariates.get("gravity", 0.0025)
        canvas = self._canvas
        canvas.begin()
        # Each wheel stands on the hill; the body lies along the line through the axles.
        half = 0.5 * self._AXLES / math.hypot(1.0, _slope(position))
        rear, front = (self._axle(position + side * half) for side in (-1, 1))
        middle = 0.5 * (rear + front)
        tilt = math.atan2(front[1] - rear[1], front[0] - rear[0])
        depth = 0.15 * min(gravity / 0.0035, 2.0)
        start = (position, _hill(position) - 0.04 * math.hypot(1.0, _slope(position)))
        canvas.arrow(_PAPER, start, (start[0], start[1] - depth), 0.011)
        canvas.polygon(_WARM, _placed(self._BODY, middle, tilt))
        for window in self._WINDOWS:
            canvas.polygon(self._GLASS, _placed(window, middle, tilt))
        for axle in (rear, front):
            canvas.wheel(axle, self._WHEEL, -position / self._WHEEL)
        return canvas.frame(label, caption)

    def close(self) -> None:
        """Nothing to free: the canvas is plain memory."""

    def _axle(self, position: float) -> NDArray[np.float64]:
        """Centre ``[2]`` of a wheel that touches the hill at ``position``."""
        normal = np.array([-_slope(position), 1.0]) / math.hypot(1.0, _slope(position))
        return np.array([position, _hill(position)]) + self._WHEEL * normal

    def _down_to_bottom(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        outline = np.stack([x, y], axis=1)
        return np.concatenate([outline, [[x[-1], self._BOTTOM], [x[0], self._BOTTOM]]])


class _CartPoleRenderer:
    """CartPole: track with its ends, cart, and the pole in its true length."""

    _LEFT, _BOTTOM, _SCALE = -3.0, -1.05, 100.0  # metres at the lower left corner, pixels per metre
    _WHEEL, _HALF_WIDTH = 0.085, 0.33  # m
    _FLOOR, _TOP = 0.1, 0.36  # lower and upper side of the cart, m
    _GROUND, _GROUND_MARK, _OUTSIDE = (219, 216, 206), (166, 165, 158), (203, 196, 186)

    def __init__(self) -> None:
        self._canvas = canvas = _Canvas(self._LEFT, self._BOTTOM, self._SCALE)
        canvas.sky()
        right = -self._LEFT
        canvas.box(self._GROUND, (self._LEFT, self._BOTTOM), (right, 0.0))
        for side in (-1.0, 1.0):
            canvas.box(
                self._OUTSIDE, (side * MAX_POSITION, self._BOTTOM), (side * (right + 0.1), 0.0)
            )
            canvas.line(_GOLD, (side * MAX_POSITION, 0.0), (side * MAX_POSITION, 0.55), 0.05)
            canvas.line(
                _PAPER, (side * MAX_POSITION, 0.2), (side * MAX_POSITION, 0.35), 0.05, round_=False
            )
        canvas.line(_INK_LIGHT, (self._LEFT, -0.02), (right, -0.02), 0.04)
        for metre in (-2, -1, 0, 1, 2):
            canvas.line(self._GROUND_MARK, (metre, -0.1), (metre, -0.2), 0.02)
            canvas.text(f"{metre} m" if metre == 0 else f"{metre:+d}", (metre, -0.32), _INK_LIGHT)
        canvas.keep_as_background()

    def draw(
        self,
        obs: NDArray[Any],
        covariates: Mapping[str, float],
        *,
        x: float = 0.0,
        label: str = "",
    ) -> Frame:
        """See :meth:`Renderer.draw`; the arrows under the cart are the push, to scale."""
        names = ("position", "velocity", "angle", "angular velocity")
        cart, _, angle, _ = _checked(obs, names, x).tolist()
        caption = _caption(covariates)
        force, length = covariates.get("force", 10.0), covariates.get("length", 0.5)
        canvas = self._canvas
        canvas.begin()
        # A cart far off the track (a learned model's mistake) is out of sight all the same.
        cart = min(max(cart, 3 * self._LEFT), -3 * self._LEFT)
        pivot = (cart, self._TOP)
        tall = min(2.0 * length, 20.0)  # the covariate is half the pole's length
        for limit in (-MAX_ANGLE, MAX_ANGLE):
            canvas.line(_STEEL, pivot, _tip(pivot, limit, tall + 0.12), 0.012)
        push = min(force / 18.0, 2.0)
        for side in (-1.0, 1.0):
            start = cart + side * 0.08
            canvas.arrow(_COOL, (start, -0.65), (start + side * 0.9 * push, -0.65), 0.035)
        canvas.box(
            _COOL,
            (cart - self._HALF_WIDTH, self._FLOOR),
            (cart + self._HALF_WIDTH, self._TOP),
            0.07,
        )
        canvas.box(
            _COOL_DARK,
            (cart - self._HALF_WIDTH, self._FLOOR),
            (cart + self._HALF_WIDTH, self._FLOOR + 0.08),
            0.04,
        )
        for side in (-1.0, 1.0):
            canvas.wheel((cart + side * 0.2, self._WHEEL), self._WHEEL, -cart / self._WHEEL)
        canvas.line(_WARM, pivot, _tip(pivot, angle, tall), 0.075)
        canvas.disc(_WARM_DARK, pivot, 0.062)
        canvas.disc(_PAPER, pivot, 0.028)
        return canvas.frame(label, caption)

    def close(self) -> None:
        """Nothing to free: the canvas is plain memory."""


class _HalfCheetahRenderer:
    """HalfCheetah: Gymnasium's model, posed and rendered off-screen by MuJoCo."""

    _NAMES = (
        "mean forward velocity",
        *(
            f"{kind} of {joint}"
            for kind, joints in (
                ("position", "rootz rooty bthigh bshin bfoot fthigh fshin ffoot"),
                ("velocity", "rootx rootz rooty bthigh bshin bfoot fthigh fshin ffoot"),
            )
            for joint in joints.split()
        ),
    )
    _TILE = 1.0  # side of a square of the floor, m

    def __init__(self) -> None:
        remedy = (
            "OpenGL can not be initialised, so HalfCheetah can not be drawn: on a machine without "
            "a display set the environment variable MUJOCO_GL=egl before Python starts (it is "
            f"{os.environ.get('MUJOCO_GL', '')!r} now)"
        )
        try:
            import mujoco
        except ModuleNotFoundError:
            raise
        except Exception as error:
            # MuJoCo loads its OpenGL backend when imported, and fails in as many ways as there
            # are backends: RuntimeError, AttributeError, ImportError.
            raise RuntimeError(remedy) from error
        self._mujoco = mujoco
        model = self._compile()
        self._data = mujoco.MjData(model)
        try:
            with warnings.catch_warnings():
                # GLFW warns of what it then fails at; the error below says it better.
                warnings.simplefilter("ignore")
                self._renderer = mujoco.Renderer(model, HEIGHT, WIDTH)
        except Exception as error:
            raise RuntimeError(remedy) from error
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FREE
        self._camera.distance, self._camera.azimuth, self._camera.elevation = 3.4, 90.0, -9.0
        self._captions = _Captions(_import_pygame())

    def draw(
        self,
        obs: NDArray[Any],
        covariates: Mapping[str, float],
        *,
        x: float = 0.0,
        label: str = "",
    ) -> Frame:
        """See :meth:`Renderer.draw`; the camera goes along, the floor's squares are one metre."""
        pose = _checked(obs, self._NAMES, x)
        caption = _caption(covariates)
        mujoco, data = self._mujoco, self._data
        # The floor repeats every two squares: the picture is the same there, and the cheetah can
        # neither run off the floor nor out of the range of single precision.
        data.qpos[0] = x % (2 * self._TILE)
        data.qpos[1:] = pose[1:9]
        # Only where things are is needed; mj_forward would also solve for forces, which a pose
        # that a learned model made up (feet deep in the floor) need not have.
        mujoco.mj_kinematics(self._renderer.model, data)
        mujoco.mj_comPos(self._renderer.model, data)
        mujoco.mj_camlight(self._renderer.model, data)
        # The height stays, so that jumps are seen as jumps, until it would leave the picture.
        torso = 0.7 + pose[1]
        self._camera.lookat[:] = data.qpos[0], 0.0, 0.5 + (torso - min(max(torso, -0.2), 1.4))
        self._renderer.update_scene(data, self._camera)
        pygame = self._captions.pygame
        picture = pygame.image.frombuffer(
            self._renderer.render().tobytes(), (WIDTH, HEIGHT), "RGB"
        ).convert(24)
        self._captions.draw(picture, label, caption)
        self._captions.draw(picture, "", f"x {x:.2f} m", bottom=True)
        return _to_frame(picture)

    def close(self) -> None:
        """Free the OpenGL context."""
        self._renderer.close()

    @classmethod
    def _compile(cls) -> Any:
        """The model that Gymnasium ships, in this module's colours."""
        import gymnasium
        import mujoco

        assets = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
        spec = mujoco.MjSpec.from_file(str(assets / "half_cheetah.xml"))
        # Masses do not show, and the attribute is deprecated.
        spec.compiler.settotalmass = -1
        spec.visual.global_.offwidth, spec.visual.global_.offheight = WIDTH, HEIGHT
        spec.visual.quality.offsamples = 8
        spec.visual.quality.shadowsize = 2048
        spec.visual.headlight.ambient = [0.35] * 3
        spec.visual.headlight.diffuse = [0.3] * 3
        spec.visual.headlight.specular = [0.0] * 3
        spec.visual.rgba.haze = [*_rgb(_SKY_BOTTOM), 1.0]
        for light in spec.lights:
            light.diffuse = [0.5] * 3
            light.dir = [0.25, 0.35, -1.0]  # from the viewer's side, so that limbs are lit
        for texture in spec.textures:
            if texture.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
                # The horizon is half way down the gradient.
                texture.rgb1, texture.rgb2 = _rgb(_SKY_TOP), _rgb(_SKY_BOTTOM)
        tiles = spec.texture("texplane")
        tiles.rgb1, tiles.rgb2 = _rgb((206, 208, 203)), _rgb((229, 228, 220))
        # A mirror image of the cheetah is hard to tell from the cheetah, and doubles the work.
        floor = spec.material("MatPlane")
        floor.reflectance, floor.specular, floor.shininess = 0.0, 0.0, 0.0
        extent = 40.0
        spec.geom("floor").size = [extent, extent, 1.0]
        spec.geom("floor").rgba = [1.0] * 4
        floor.texrepeat = [extent / cls._TILE] * 2  # two tiles in a texture
        for limbs, color in (
            (("torso", "head"), _WARM),
            (("bthigh", "bshin", "bfoot"), _COOL),
            (("fthigh", "fshin", "ffoot"), _GOLD),
        ):
            for limb in limbs:
                spec.geom(limb).rgba = [*_rgb(color), 1.0]
        return spec.compile()


class _Captions:
    """Writes captions into the corners of pictures."""

    def __init__(self, pygame: ModuleType) -> None:
        pygame.font.init()
        self.pygame = pygame
        self._font = pygame.font.Font(None, 20)

    def draw(
        self, surface: pygame.Surface, label: str, details: str, *, bottom: bool = False
    ) -> None:
        """Write one line on a light plate: the label in ink, the details in grey.

        Args:
            surface: Picture to write on.
            label: First part, may be empty.
            details: Second part, may be empty; with both empty nothing is drawn.
            bottom: Lower right corner, instead of the upper left.
        """
        parts = [(label, _INK), (" · " if label and details else "", _INK_LIGHT)]
        parts.append((details, _INK_LIGHT))
        texts = [self._font.render(text, True, color) for text, color in parts if text]
        if not texts:
            return
        margin, inset = 10, 8
        size = (sum(text.get_width() for text in texts) + 2 * inset, texts[0].get_height() + 9)
        plate = self.pygame.Surface(size, self.pygame.SRCALPHA)
        self.pygame.draw.rect(plate, (*_PAPER, 205), plate.get_rect(), border_radius=6)
        right = inset
        for text in texts:
            plate.blit(text, (right, 5))
            right += text.get_width()
        corner = (margin, margin)
        if bottom:
            corner = (
                surface.get_width() - size[0] - margin,
                surface.get_height() - size[1] - margin,
            )
        surface.blit(plate, corner)


class _Canvas:
    """A picture painted in world coordinates.

    Everything is painted four times as large and scaled down at the end, which smooths all edges
    alike.

    Args:
        left: World coordinate at the left edge.
        bottom: World coordinate at the lower edge.
        scale: Pixels of the finished picture per unit of the world.
    """

    _OVERSAMPLING = 4

    def __init__(self, left: float, bottom: float, scale: float) -> None:
        self._pygame = _import_pygame()
        self._captions = _Captions(self._pygame)
        self._left, self._bottom = left, bottom
        self._scale = scale * self._OVERSAMPLING
        size = (WIDTH * self._OVERSAMPLING, HEIGHT * self._OVERSAMPLING)
        self._surface = self._pygame.Surface(size, 0, 32)
        self._background = self._surface.copy()

    def sky(self) -> None:
        """Fill the picture with a gradient."""
        pair = self._pygame.Surface((1, 2), 0, 32)
        pair.set_at((0, 0), _SKY_TOP)
        pair.set_at((0, 1), _SKY_BOTTOM)
        self._pygame.transform.smoothscale(pair, self._surface.get_size(), self._surface)

    def keep_as_background(self) -> None:
        """Let every later picture begin with what has been painted so far."""
        self._background.blit(self._surface, (0, 0))

    def begin(self) -> None:
        """Begin a picture."""
        self._surface.blit(self._background, (0, 0))

    def frame(self, label: str, details: str) -> Frame:
        """Finish the picture: a fresh array ``[400, 600, 3]`` with its caption."""
        picture = self._pygame.Surface((WIDTH, HEIGHT), 0, 32)
        self._pygame.transform.smoothscale(self._surface, (WIDTH, HEIGHT), picture)
        self._captions.draw(picture, label, details)
        return _to_frame(picture)

    def polygon(self, color: _Color, points: Sequence[_Point] | NDArray[np.float64]) -> None:
        """Fill the polygon with corners ``[n, 2]``."""
        corners = [self._pixel((x, y)) for x, y in points]
        self._pygame.draw.polygon(self._surface, color, corners)

    def box(self, color: _Color, low: _Point, high: _Point, radius: float = 0.0) -> None:
        """Fill an upright rectangle, given by two opposite corners, with rounded corners."""
        (x0, y0), (x1, y1) = self._pixel(low), self._pixel(high)
        rect = (min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0))
        rounding = round(radius * self._scale) or -1
        self._pygame.draw.rect(self._surface, color, rect, border_radius=rounding)

    def disc(self, color: _Color, center: _Point, radius: float) -> None:
        """Fill a circle."""
        self._pygame.draw.circle(
            self._surface, color, self._pixel(center), round(radius * self._scale)
        )

    def line(
        self, color: _Color, start: _Point, end: _Point, width: float, *, round_: bool = True
    ) -> None:
        """Draw a line with round or square ends."""
        across = _across(start, end, 0.5 * width)
        self.polygon(
            color,
            [
                (start[0] + across[0], start[1] + across[1]),
                (end[0] + across[0], end[1] + across[1]),
                (end[0] - across[0], end[1] - across[1]),
                (start[0] - across[0], start[1] - across[1]),
            ],
        )
        if round_:
            self.disc(color, start, 0.5 * width)
            self.disc(color, end, 0.5 * width)

    def arrow(self, color: _Color, start: _Point, end: _Point, width: float) -> None:
        """Draw an arrow; one shorter than its head shrinks to a small head."""
        length = math.dist(start, end)
        if length == 0.0:
            return
        head = min(2.6 * width, length)
        share = (length - head) / length
        neck = (start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1]))
        self.line(color, start, neck, width)
        across = _across(start, end, 0.6 * head)
        left = (neck[0] + across[0], neck[1] + across[1])
        self.polygon(color, [end, left, (neck[0] - across[0], neck[1] - across[1])])

    def wheel(
        self, center: Sequence[float] | NDArray[np.float64], radius: float, turn: float
    ) -> None:
        """Draw a wheel whose spokes are turned counterclockwise by ``turn`` rad."""
        middle = (float(center[0]), float(center[1]))
        self.disc(_INK, middle, radius)
        self.disc(_STEEL, middle, 0.62 * radius)
        for spoke in range(3):
            angle = turn + spoke * math.pi / 3
            reach = (0.6 * radius * math.cos(angle), 0.6 * radius * math.sin(angle))
            start = (middle[0] - reach[0], middle[1] - reach[1])
            end = (middle[0] + reach[0], middle[1] + reach[1])
            self.line(_INK_LIGHT, start, end, 0.13 * radius, round_=False)
        self.disc(_INK, middle, 0.2 * radius)

    def text(self, text: str, center: _Point, color: _Color) -> None:
        """Write small text around a point."""
        font = self._pygame.font.Font(None, 18 * self._OVERSAMPLING)
        image = font.render(text, True, color)
        self._surface.blit(image, image.get_rect(center=self._pixel(center)))

    def _pixel(self, point: _Point) -> tuple[int, int]:
        x = (point[0] - self._left) * self._scale
        y = self._surface.get_height() - (point[1] - self._bottom) * self._scale
        # Far outside all is equally invisible, but pygame takes only what fits an int.
        return round(min(max(x, -1e5), 1e5)), round(min(max(y, -1e5), 1e5))


def _import_pygame() -> ModuleType:
    # On import pygame prints a greeting to stdout, where the command line prints its results.
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    import pygame

    return pygame


def _to_frame(surface: pygame.Surface) -> Frame:
    """The pixels of a surface as a fresh, writeable array."""
    pixels = _import_pygame().image.tobytes(surface, "RGB")
    width, height = surface.get_size()
    return np.frombuffer(pixels, np.uint8).reshape(height, width, 3).copy()


def _checked(obs: NDArray[Any], names: Sequence[str], x: float) -> NDArray[np.float64]:
    """The observation as floats, after checks of its shape ``[d]`` and of every number."""
    values = np.asarray(obs, dtype=np.float64)
    if values.shape != (len(names),):
        raise ValueError(f"observation has shape {values.shape}, expected {(len(names),)}")
    for name, value in zip((*names, "x"), (*values.tolist(), x), strict=True):
        if not math.isfinite(value):
            raise ValueError(f"can not draw a state whose {name} is {value}")
    return values


def _check_frame(frame: Frame, name: str) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or frame.size == 0:
        raise ValueError(
            f"{name} must be uint8 of shape (height, width, 3), got {frame.dtype} {frame.shape}"
        )


def _caption(covariates: Mapping[str, float]) -> str:
    """Covariates as in ``"force 10 · length 0.85"``, after a check of every number."""
    for name, value in covariates.items():
        if not math.isfinite(value):
            raise ValueError(f"can not draw an agent whose {name} is {value}")
    return " · ".join(f"{name} {value:.4g}" for name, value in covariates.items())


def _hill(x: float) -> float:
    """Height of MountainCar's hill."""
    return 0.45 * math.sin(3 * x) + 0.55


def _slope(x: float) -> float:
    """Derivative of the hill's height."""
    return 1.35 * math.cos(3 * x)


def _placed(shape: Iterable[_Point], at: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """A shape ``[n, 2]`` turned counterclockwise by ``angle`` rad, then moved to ``at`` ``[2]``."""
    cos, sin = math.cos(angle), math.sin(angle)
    turned: NDArray[np.float64] = np.array(list(shape)) @ np.array([[cos, sin], [-sin, cos]]) + at
    return turned


def _tip(pivot: _Point, angle: float, length: float) -> _Point:
    """Where a pole ends that leans clockwise by ``angle`` rad."""
    return pivot[0] + length * math.sin(angle), pivot[1] + length * math.cos(angle)


def _across(start: _Point, end: _Point, reach: float) -> _Point:
    """Vector of length ``reach`` at a right angle to the line."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy) or 1.0
    return -dy / length * reach, dx / length * reach


def _rgb(color: _Color) -> list[float]:
    """A colour in OpenGL's terms."""
    return [channel / 255 for channel in color]
