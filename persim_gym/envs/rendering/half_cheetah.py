"""The picture of HalfCheetah."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from persim_gym.envs.rendering.picture import (
    COOL,
    GOLD,
    HEIGHT,
    SKY_BOTTOM,
    SKY_TOP,
    WARM,
    WIDTH,
    Captions,
    Color,
    Frame,
    checked_observation,
    covariates_caption,
    import_pygame,
    to_frame,
)


class HalfCheetahRenderer:
    """HalfCheetah: Gymnasium's model, posed and rendered off-screen by MuJoCo.

    Raises:
        RuntimeError: If OpenGL can not be initialised.
    """

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
        self._captions = Captions(import_pygame())

    def draw(
        self,
        obs: NDArray[Any],
        covariates: Mapping[str, float],
        *,
        x: float = 0.0,
        label: str = "",
    ) -> Frame:
        """Draw one state; the camera goes along, the floor's squares are one metre.

        See :meth:`persim_gym.envs.rendering.Renderer.draw`.
        """
        pose = checked_observation(obs, self._NAMES, x)
        caption = covariates_caption(covariates)
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
        return to_frame(picture)

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
        spec.visual.rgba.haze = [*_rgb(SKY_BOTTOM), 1.0]
        for light in spec.lights:
            light.diffuse = [0.5] * 3
            light.dir = [0.25, 0.35, -1.0]  # from the viewer's side, so that limbs are lit
        for texture in spec.textures:
            if texture.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
                # The horizon is half way down the gradient.
                texture.rgb1, texture.rgb2 = _rgb(SKY_TOP), _rgb(SKY_BOTTOM)
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
            (("torso", "head"), WARM),
            (("bthigh", "bshin", "bfoot"), COOL),
            (("fthigh", "fshin", "ffoot"), GOLD),
        ):
            for limb in limbs:
                spec.geom(limb).rgba = [*_rgb(color), 1.0]
        return spec.compile()


def _rgb(color: Color) -> list[float]:
    """A colour in OpenGL's terms."""
    return [channel / 255 for channel in color]
