"""The warp renderer of videos: untouched frames, absolute motion, order, and what it refuses."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from test_warp import sculpture

from mien.rendering.video import WarpVideoRenderer, from_frame, in_order, relative
from mien.rendering.warp import WarpRenderer
from mien.rotations import compose
from mien.types import FaceMotion, Frame, Portrait


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return sculpture()


def smiling(n_frames: int, amount: float) -> FaceMotion:
    return FaceMotion.zeros(n_frames, 25.0).with_columns({"mouthSmileLeft": amount, "mouthSmileRight": amount})


def test_a_frames_own_motion_gives_the_frame_itself(portrait: Portrait) -> None:
    resting = replace(portrait, rest=smiling(1, 0.3))
    frames = list(WarpVideoRenderer().render([resting, resting], smiling(1, 0.3).concat(smiling(1, 0.5))))
    assert np.array_equal(frames[0], portrait.image)
    assert not np.array_equal(frames[1], portrait.image)


def test_motion_is_absolute(portrait: Portrait) -> None:
    resting = replace(portrait, rest=smiling(1, 0.3))
    (frame,) = WarpVideoRenderer().render([resting], smiling(1, 0.7))
    assert np.array_equal(frame, next(WarpRenderer(resting, filmed=True).render(smiling(1, 0.4))))


def test_frames_come_in_order_whatever_takes_longest(portrait: Portrait) -> None:
    amounts = [0.9, 0.0, 0.6, 0.0, 0.2]
    motion = smiling(1, amounts[0])
    for amount in amounts[1:]:
        motion = motion.concat(smiling(1, amount))
    frames = list(WarpVideoRenderer().render([portrait] * 5, motion))
    changes = [float(np.abs(frame.astype(float) - portrait.image).mean()) for frame in frames]
    assert changes[0] > changes[2] > changes[4] > changes[1] == changes[3] == 0


def test_few_frames_are_taken_ahead() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(50):
            taken += 1
            yield item

    results = in_order(lambda item: item, items(), 2)
    assert [next(results) for _ in range(10)] == list(range(10))
    assert taken <= 13
    results.close()  # type: ignore[attr-defined]
    assert taken <= 13


def test_two_are_drawn_at_a_time_and_a_fault_comes_out() -> None:
    both = threading.Barrier(2, timeout=10)

    def work(item: int) -> int:
        if item < 2:
            both.wait()  # passes only if two threads are here
        if item == 3:
            raise ValueError("a fault")
        time.sleep(0.01 * (5 - item))
        return item

    results = in_order(work, range(5), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="a fault"):
        list(results)


def test_head_turns_are_relative_to_the_frames_own() -> None:
    own = replace(FaceMotion.zeros(1, 25.0), head_pose=[[0.1, 0.3, -0.2]])
    wanted = replace(own, head_pose=[[-0.2, 0.1, 0.3]])
    change = relative(wanted, own)
    assert np.allclose(compose(own.head_pose, change.head_pose), wanted.head_pose, atol=1e-6)


def test_what_does_not_fit_is_refused(portrait: Portrait) -> None:
    with pytest.raises(ValueError, match="more frames"):
        list(WarpVideoRenderer().render([portrait] * 2, smiling(1, 0.1)))
    flame = FaceMotion.zeros(1, 25.0, "flame", ("expression_00",))
    with pytest.raises(ValueError, match="retarget"):
        list(WarpVideoRenderer().render([portrait], flame))


@pytest.mark.parametrize("recurrent", [False, True])
def test_frames_from_a_number_on_are_those_of_the_whole(recurrent: bool) -> None:
    """A renderer that needs the frames before draws them again, others begin where they are asked to."""
    drawn: list[int] = []

    def draw(first: int) -> Iterator[Frame]:
        for index in range(first, 6):
            drawn.append(index)
            yield np.full((1, 1, 3), index, np.uint8)

    frames = list(from_frame(4, draw, recurrent=recurrent))
    assert [int(frame[0, 0, 0]) for frame in frames] == [4, 5]
    assert drawn == ([0, 1, 2, 3, 4, 5] if recurrent else [4, 5])
