"""mien: a voice, a face and a direction become a person saying it and feeling it.

    portrait = track_image(read_image("photo.jpg"))
    speech = analyse(read_audio("voice.wav"), fps=25)
    motion = perform(Direction.parse("happy:0.8"), speech, rest=portrait.rest, identity=portrait.identity)
    write_video("out.mp4", WarpRenderer(portrait).render(motion), fps=25, sound="voice.wav")

What a verb of the command line does is ``mien.pipelines.VERB``. The names below are loaded when first used, so that
``import mien`` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.direction import Direction as Direction
    from mien.media.audio import read_audio as read_audio
    from mien.media.image import read_image as read_image
    from mien.media.video import write_video as write_video
    from mien.perception.speech import analyse as analyse
    from mien.perception.tracking import track_image as track_image
    from mien.perception.tracking import track_video as track_video
    from mien.pipelines.speak import perform as perform
    from mien.rendering.mesh import MeshRenderer as MeshRenderer
    from mien.rendering.warp import WarpRenderer as WarpRenderer
    from mien.types import FaceMotion as FaceMotion

_HOMES = {
    "Direction": "mien.direction",
    "FaceMotion": "mien.types",
    "MeshRenderer": "mien.rendering.mesh",
    "WarpRenderer": "mien.rendering.warp",
    "analyse": "mien.perception.speech",
    "perform": "mien.pipelines.speak",
    "read_audio": "mien.media.audio",
    "read_image": "mien.media.image",
    "track_image": "mien.perception.tracking",
    "track_video": "mien.perception.tracking",
    "write_video": "mien.media.video",
}

__all__ = list(_HOMES)


def __dir__() -> list[str]:
    return [*globals(), *__all__]  # so that help() and a notebook's Tab key know what is not loaded yet


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("mien")
    if name not in _HOMES:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
