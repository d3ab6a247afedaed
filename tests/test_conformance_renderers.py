"""What every renderer of a portrait promises: the warp, the sculpture, and both networks with weights by rule.

The networks stand here with fixed, unlearned weights, so they promise what needs no learning: sizes, repeatability,
that every control reaches the picture, that a batch is its pictures, and that what they leave alone stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from PIL import Image

from mien import metrics
from mien.errors import InputError
from mien.media.image import read_image
from mien.perception.landmarks import MediapipeBackend
from mien.perception.tracking import track_image
from mien.pipelines.restyle import edited
from mien.rendering.ganmut import GanmutConfig, GanmutEditor, GaussianGenerator, LinearGenerator
from mien.rendering.icface import UNITS, Icface, IcfaceConfig, IcfaceRenderer
from mien.rendering.mesh import MeshRenderer
from mien.rendering.paste import FaceSquare, sharpened, soft_box
from mien.rendering.warp import WarpRenderer
from mien.types import ActionUnits, FaceMotion, Frame, Portrait

SMALL = {"channels": 4, "n_blocks": 1, "size": 64}
Controls = dict[str, float]
Render = Callable[[Sequence[Controls]], list[Frame]]


def _motion(rows: Sequence[Controls]) -> FaceMotion:
    """ARKit names; ``yaw`` in rad."""
    motion = FaceMotion.zeros(len(rows), 25)
    names = {name for row in rows for name in row} - {"yaw"}
    head = np.array([[0, row.get("yaw", 0.0), 0] for row in rows])
    return replace(motion.with_columns({n: [row.get(n, 0.0) for row in rows] for n in names}), head_pose=head)


def _warp(portrait: Portrait) -> Render:
    return lambda rows: list(WarpRenderer(portrait).render(_motion(rows)))


def _mesh(portrait: Portrait) -> Render:
    return lambda rows: list(MeshRenderer(portrait, size=256).render(_motion(rows)))


def _ganmut(space: str) -> Callable[[Portrait], Render]:
    def make(portrait: Portrait) -> Render:
        torch.manual_seed(0)
        config = GanmutConfig(space, **SMALL)
        editor = GanmutEditor(LinearGenerator(config) if space == "linear" else GaussianGenerator(config))
        return lambda rows: list(
            edited([portrait], editor, np.array([[row.get("x", 0), row.get("y", 0)] for row in rows], np.float32))
        )

    return make


def _icface(portrait: Portrait) -> Render:
    torch.manual_seed(0)
    network = Icface(IcfaceConfig(**SMALL))
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.3)  # the paper's start is so small that such narrow networks show grey
    square = FaceSquare.around(portrait.landmarks, 1.45, upright=False)
    renderer = IcfaceRenderer(network, square.cut(portrait.image))

    def render(rows: Sequence[Controls]) -> list[Frame]:
        units = ActionUnits(np.array([[row.get(name, 0.0) for name in UNITS] for row in rows]), UNITS, 25)
        return list(renderer.render(units, _motion([{"yaw": row.get("yaw", 0.0)} for row in rows]).head_pose))

    return render


@dataclass(frozen=True)
class Case:
    """A renderer, and a row of controls for each thing that it can move."""

    make: Callable[[Portrait], Render]
    controls: tuple[Controls, ...]


_FACE = ({"jawOpen": 0.7}, {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
         {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8}, {"yaw": 0.2})  # fmt: skip
CASES = {
    "warp": Case(_warp, _FACE),
    "mesh": Case(_mesh, _FACE),
    "ganmut": Case(_ganmut("linear"), ({"x": 0.8}, {"y": 0.8})),
    "ganmut, gaussian": Case(_ganmut("gaussian"), ({"x": 0.8}, {"y": 0.8})),
    "icface": Case(_icface, (*({name: 1.0} for name in UNITS), {"yaw": 0.4})),
}


@pytest.fixture(scope="module")
def portrait(sample_portrait):
    """Of odd sides: nothing may take them for even."""
    with Image.open(sample_portrait) as picture:
        small = np.asarray(picture.convert("RGB").resize((257, 301)))
    return track_image(small)


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def render(case, portrait):
    return case.make(portrait)


def test_frames_are_pictures_of_one_size_and_the_callers_to_keep(case, render):
    first, second = render([{}, case.controls[0]])
    assert first.dtype == second.dtype == np.uint8
    assert first.shape == second.shape
    assert first.shape[2] == 3
    before = second.copy()
    first[:] = 0
    np.testing.assert_array_equal(second, before)


def test_every_control_reaches_the_picture(case, render):
    rest, *moved = render([{}, *case.controls])
    for controls, frame in zip(case.controls, moved, strict=True):
        assert (frame != rest).any(), controls


def test_the_same_controls_give_the_same_bytes(case, portrait, render):
    again = case.make(portrait)
    for first, second in zip(render(case.controls), again(case.controls), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_batch_is_its_frames(case, render):
    together = render(case.controls[:3])
    for controls, frame in zip(case.controls[:3], together, strict=True):
        (alone,) = render([controls])
        assert np.abs(alone.astype(int) - frame).max() <= 1


@pytest.mark.parametrize("name", ["warp", "mesh"])
def test_nothing_asked_for_is_the_face_at_rest(name, portrait):
    (rest,) = CASES[name].make(portrait)([{}])
    if name == "warp":
        np.testing.assert_array_equal(rest, portrait.image)
    else:
        shown = track_image(rest).rest
        assert abs(float(shown.column("jawOpen")[0] - portrait.rest.column("jawOpen")[0])) < 0.1
        assert np.abs(shown.head_pose - portrait.rest.head_pose).max() < 0.15


@pytest.mark.parametrize("name", ["warp", "mesh"])
def test_each_control_moves_what_it_names(name, portrait):
    backend = MediapipeBackend()
    rest, jaw, blink, smile, turned = (backend.detect(f)[0] for f in CASES[name].make(portrait)([{}, *_FACE]))

    def lids(points):
        return np.linalg.norm(points[[159, 386], :2] - points[[145, 374], :2], axis=1).mean() / metrics.eye_distance(
            points
        )

    def width(points):
        return np.linalg.norm(points[61, :2] - points[291, :2]) / metrics.eye_distance(points)

    def nose(points):
        """How far the tip of the nose stands to the viewer's right of the middle of the cheeks."""
        return (points[1, 0] - points[[234, 454], 0].mean()) / metrics.eye_distance(points)

    assert metrics.lip_aperture(jaw) > metrics.lip_aperture(rest) + 0.05
    assert lids(blink) < 0.75 * lids(rest)
    assert width(smile) > 1.05 * width(rest)
    assert nose(turned) > nose(rest) + 0.05


def test_an_edit_that_changes_nothing_leaves_the_picture(portrait):
    """The way back into the picture, whatever the network: no seam, no cast, no lost detail."""
    import cv2

    square = FaceSquare.around(portrait.landmarks, 1.15, upright=True)
    crop = square.cut(portrait.image)
    small = cv2.resize(crop.astype(np.float32), (64, 64), interpolation=cv2.INTER_AREA)
    coarse = np.clip(np.rint(cv2.resize(small, crop.shape[:2], interpolation=cv2.INTER_CUBIC)), 0, 255)
    tinted = np.clip(coarse + np.array([6, 0, -6]), 0, 255).astype(np.uint8)  # a network's own cast of colour
    pasted = square.paste(portrait.image, sharpened(crop, tinted, 64), soft_box(square.side))
    assert metrics.psnr(pasted, portrait.image) >= 45


@pytest.mark.parametrize("name", ["ganmut", "ganmut, gaussian"])
def test_edits_stay_inside_the_face(name, portrait):
    (frame,) = CASES[name].make(portrait)([{"x": 1.0}])
    low, high = portrait.landmarks[:, :2].min(0).astype(int) - 4, portrait.landmarks[:, :2].max(0).astype(int) + 4
    changed = (frame != portrait.image).any(-1)
    assert changed.any()
    changed[low[1] : high[1], low[0] : high[0]] = False
    assert not changed.any()


def test_transparent_grey_and_turned_pictures_are_rendered(sample_portrait, tmp_path):
    with Image.open(sample_portrait) as picture:
        small = picture.convert("RGB").resize((256, 300))
    clear = small.copy()
    clear.putalpha(200)
    clear.save(tmp_path / "alpha.png")
    small.convert("L").save(tmp_path / "grey.png")
    for name in ("alpha.png", "grey.png"):
        portrait = track_image(read_image(tmp_path / name))
        (frame,) = WarpRenderer(portrait).render(_motion([{"jawOpen": 0.5}]))
        assert frame.shape == (300, 256, 3)
        if name == "grey.png":
            assert np.ptp(frame[:, :40].astype(int), axis=2).max() == 0


def test_what_does_not_fit_is_refused(portrait):
    foreign = replace(FaceMotion.zeros(1, 25), rig="flame")
    for renderer in (WarpRenderer(portrait), MeshRenderer(portrait, size=64)):
        with pytest.raises(ValueError, match="flame"):
            list(renderer.render(foreign))
    with pytest.raises(ValueError, match="expected"):
        IcfaceRenderer(Icface(IcfaceConfig(**SMALL)), np.zeros((10, 12, 3), np.uint8))
    editor = GanmutEditor(LinearGenerator(GanmutConfig(**SMALL)))
    with pytest.raises(ValueError, match="expected"):
        editor.restyle(np.zeros((10, 12, 3), np.uint8), (0, 0))
    with pytest.raises(InputError, match="not in GANmut's space"):
        editor.emotion_code("contempt")
