"""From landmarks in pixels to a face in metres: identity, head pose, camera and gaze on the builtin rig.

Convention: scaled orthography. With ``posed = R(head_pose) v + translation`` in metres, a landmark lies at
``x = cx + scale X``, ``y = cy - scale Y`` pixels; its depth is ``-scale Z``. The size of a face and its distance cannot
both be known from a picture, so the face is taken to be of average size and ``scale`` carries the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mien.face.rig import Rig
from mien.perception.landmarks import N_LANDMARKS
from mien.rotations import axis_angle_from_matrix, matrix_from_axis_angle
from mien.types import Array, FaceIdentity, FaceMotion

_N_SKIN = 468
_STIFF = 0.002
"""A point that expressions move by this many metres counts half as much for the pose as one that never moves."""
_PRIOR = 0.003
"""Landmark noise in metres that the identity fit assumes: larger keeps faces closer to the average."""
_INDEPENDENT = 100
"""Errors of neighbouring landmarks go together: all coordinates are taken for so many independent ones."""
_IDENTITY_ROUNDS, _ABSORB_ROUNDS = 4, 40
"""How often poses and face, and lids and face, are fitted in turn (at most)."""
_BLOCK = 512
"""Frames that are worked on at once, and frames that an identity is learned from at most: long clips take no more."""
_MAX_GAZE = 0.6
_MAX_REST_BLINK = 0.85
"""Lids more closed than this at rest say nothing about how wide the open eye is."""


@dataclass(frozen=True, eq=False)
class Poses:
    """Where heads are, one per frame.

    Attributes:
        scale: ``(T,)`` pixels per metre.
        rotation: ``(T, 3, 3)`` head rotation matrices.
        origin: ``(T, 3)`` the model's origin in pixels: x right, y up, z towards the camera.
    """

    scale: Array
    rotation: Array
    origin: Array

    def unposed(self, points: Array) -> Array:
        """Points ``(T, N, 3)`` in pixels (y up) brought back to the model's metres at zero pose."""
        return np.asarray((points - self.origin[:, None]) @ self.rotation / self.scale[:, None, None], np.float32)


def upwards(landmarks: npt.ArrayLike) -> Array:
    """Landmarks ``(..., 3)`` as mediapipe gives them with y up and z towards the camera, still in pixels."""
    return np.asarray(landmarks, np.float32) * np.array([1, -1, -1], np.float32)


def stable_weights(rig: Rig) -> Array:
    """``(478,)`` how much each landmark may say about the head's pose: little where expressions move the face."""
    reach = np.linalg.norm(rig.expression_basis[:, :N_LANDMARKS], axis=2).max(axis=0)
    weights = 1 / (1 + (reach / _STIFF) ** 2)
    weights[_N_SKIN:] = 0
    # The outline is where the surface turns away from the camera: its landmarks slide over the skin.
    weights[rig.contours["face_oval"]] *= 0.2
    return np.asarray(weights / weights.sum(), np.float32)


def align(model: Array, points: Array, weights: Array) -> Poses:
    """The similarities that bring model points ``(T, N, 3)`` m onto points ``(T, N, 3)`` px in the least squares sense.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns" (1991), with weights
    ``(N,)`` that sum to 1.
    """
    w = np.asarray(weights, np.float64)[None, :, None]
    model_mean, points_mean = (model * w).sum(axis=1), (points * w).sum(axis=1)
    a, b = model - model_mean[:, None], points - points_mean[:, None]
    u, d, vt = np.linalg.svd((b * w).transpose(0, 2, 1) @ a)
    sign = np.ones((len(d), 3))
    sign[:, 2] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    rotation = (u * sign[:, None]) @ vt
    scale = (d * sign).sum(axis=1) / np.maximum((a**2 * w).sum(axis=(1, 2)), 1e-12)
    origin = points_mean - scale[:, None] * np.einsum("tij,tj->ti", rotation, model_mean)
    return Poses(np.asarray(scale, np.float32), np.asarray(rotation, np.float32), np.asarray(origin, np.float32))


def find_poses(rig: Rig, identity: FaceIdentity | None, expression: Array, landmarks: Array) -> Poses:
    """Head poses for landmarks ``(T, 478, 3)`` px of a person who makes the expressions ``(T, 52)``.

    The face that is aligned already wears the expression, so that a raised brow or an open jaw does not tilt the head.
    """
    basis = rig.expressions_for(identity)[:, :N_LANDMARKS]
    neutral, weights = rig.neutral(identity)[:N_LANDMARKS], stable_weights(rig)
    parts = []
    for start in range(0, len(landmarks), _BLOCK):
        block = slice(start, start + _BLOCK)
        parts.append(align(neutral + np.tensordot(expression[block], basis, 1), upwards(landmarks[block]), weights))
    return Poses(
        np.concatenate([part.scale for part in parts]),
        np.concatenate([part.rotation for part in parts]),
        np.concatenate([part.origin for part in parts]),
    )


def fit_identity(rig: Rig, expression: Array, landmarks: Array, weights: Array) -> FaceIdentity:
    """One person's neutral face from landmarks ``(T, 478, 3)`` px, expressions ``(T, 52)`` and frame weights ``(T,)``.

    Betas are the ridge solution for the frames' weighted mean neutral; what they leave is the residual.
    """
    if len(weights) > _BLOCK:
        best = np.sort(np.argsort(-weights, kind="stable")[:_BLOCK])
        expression, landmarks, weights = expression[best], landmarks[best], weights[best]
    frame_weights = (weights / weights.sum())[:, None, None]
    identity = None
    n_betas = len(rig.identity_basis)
    basis = rig.identity_basis[:, :_N_SKIN].reshape(n_betas, -1).astype(np.float64)
    normal = basis @ basis.T + _PRIOR**2 * np.eye(n_betas) * _N_SKIN * 3 / _INDEPENDENT
    for _ in range(_IDENTITY_ROUNDS):
        poses = find_poses(rig, identity, expression, landmarks)
        wearing = np.tensordot(expression, rig.expressions_for(identity)[:, :N_LANDMARKS], 1)
        neutral = ((poses.unposed(upwards(landmarks)) - wearing) * frame_weights).sum(axis=0)
        change = neutral - rig.template[:N_LANDMARKS]
        betas = np.clip(np.linalg.solve(normal, basis @ change[:_N_SKIN].ravel()), -4, 4)
        shape = np.tensordot(betas, rig.identity_basis[:, :N_LANDMARKS], 1)
        left_over = change - shape
        left_over[_N_SKIN:] = 0  # irises go where the gaze turns them
        identity = FaceIdentity(rig.name, np.asarray(betas, np.float32), rig.extend(left_over))
    assert identity is not None
    return identity


def find_gaze(rig: Rig, identity: FaceIdentity, landmarks: Array, poses: Poses) -> Array:
    """``(T, 2, 3)`` rad: how far the irises are from straight ahead, both eyes alike.

    The iris centre's offset from the eyeball's centre, seen along the head's own axis, is the sine of the angle times
    the distance between them. Each eye counts by how wide it appears: the far eye of a turned head says little.
    """
    neutral = rig.neutral(identity)
    angles, visible = [], []
    for side in ("left", "right"):
        iris = rig.parts[f"iris_{side}"].start
        centre = neutral[rig.parts[f"eyeball_{side}"]].mean(axis=0)
        rim = rig.contours[f"eye_{side}"]
        # Lids shift in the landmarks by more than the eye does; the corners hold still.
        corners = rim[[0, len(rim) // 2]]
        seen = poses.unposed(upwards(landmarks[:, [iris, *corners]]))
        drift = seen[:, 1:].mean(axis=1) - neutral[corners].mean(axis=0)
        radius = float(np.linalg.norm(neutral[iris] - centre))
        offset = (seen[:, 0] - drift - neutral[iris])[:, :2] + (neutral[iris] - centre)[:2]
        sine = np.clip(offset / radius, -np.sin(_MAX_GAZE), np.sin(_MAX_GAZE))
        angles.append(np.stack([-np.arcsin(sine[:, 1]), np.arcsin(sine[:, 0])], axis=1))
        visible.append(np.abs(landmarks[:, corners[0], 0] - landmarks[:, corners[1], 0]) + 1e-6)
    share = np.stack(visible, axis=1) ** 2
    share /= share.sum(axis=1, keepdims=True)
    pitch_yaw = np.einsum("tek,te->tk", np.stack(angles, axis=1), share)
    gaze = np.zeros((len(landmarks), 2, 3), np.float32)
    gaze[:, :, :2] = pitch_yaw[:, None]
    return gaze


def find_lid_closure(rig: Rig, landmarks: Array, found: npt.NDArray[np.bool_]) -> Array:
    """``(T,)`` in [0, 1]: how far the lids are closed, measured against how far this person opens them in the clip.

    The mean gap between the lids over the eye's width, of both eyes, against its 90th percentile over the frames.
    """
    gaps = []
    for side in ("left", "right"):
        rim = landmarks[:, rig.contours[f"eye_{side}"], :2]
        width = np.linalg.norm(rim[:, 0] - rim[:, rim.shape[1] // 2], axis=1)
        pairs = rig.closures[f"eye_{side}"]
        gap = np.linalg.norm(landmarks[:, pairs[:, 0], :2] - landmarks[:, pairs[:, 1], :2], axis=2).mean(axis=1)
        gaps.append(gap / np.maximum(width, 1e-6))
    opening = np.mean(gaps, axis=0)
    return np.asarray(np.clip(1 - opening / max(float(np.percentile(opening[found], 90)), 1e-6), 0, 1), np.float32)


def motion_from(rig: Rig, fps: float, expression: Array, gaze: Array, poses: Poses, camera: Array) -> FaceMotion:
    """A motion from what was found, given the per-frame cameras ``(T, 3)`` that its pixels shall be read with."""
    translation = np.zeros((len(expression), 3), np.float32)
    translation[:, 0] = (poses.origin[:, 0] - camera[:, 1]) / camera[:, 0]
    translation[:, 1] = (poses.origin[:, 1] + camera[:, 2]) / camera[:, 0]
    return replace(
        FaceMotion.zeros(len(expression), fps, rig.name, rig.expression_names),
        expression=expression,
        head_pose=axis_angle_from_matrix(poses.rotation),
        eye_pose=gaze,
        translation=translation,
    )


def project(rig: Rig, identity: FaceIdentity, motion: FaceMotion, cameras: Array) -> Array:
    """``(T, 478, 3)`` pixels of the landmarks that a motion makes, as mediapipe would give them."""
    posed = rig.pose(rig.vertices(motion, identity), motion)[:, :N_LANDMARKS]
    pixels = posed * np.array([1, -1, -1], np.float32) * cameras[:, None, :1]
    pixels[..., :2] += cameras[:, None, 1:]
    return np.asarray(pixels, np.float32)


def absorb(rig: Rig, identity: FaceIdentity, rest: FaceMotion, camera: Array, landmarks: Array) -> FaceIdentity:
    """The identity whose neutral face, wearing ``rest``, lies exactly on one picture's landmarks ``(478, 3)`` px.

    The lids of :meth:`Rig.expressions_for` depend on the residual in turn, hence the few rounds.
    """
    head = matrix_from_axis_angle(rest.head_pose[0])
    eyes = matrix_from_axis_angle(rest.eye_pose[0])
    for _ in range(_ABSORB_ROUNDS):
        error = landmarks - project(rig, identity, rest, camera[None])[0]
        error[:, 2] -= error[:_N_SKIN, 2].mean()  # depth has no origin
        if float(np.abs(error).max()) < 0.01:
            break
        change = upwards(error) / camera[0] @ head
        for eye, side in enumerate(("left", "right")):
            iris = rig.parts[f"iris_{side}"]
            change[iris] = change[iris] @ eyes[eye]
        identity = FaceIdentity(rig.name, identity.betas, identity.residual + rig.extend(change))
    return identity


def rest_expression(rig: Rig, expression: Array) -> Array:
    """Expressions ``(T, 52)`` as far as they can be undone: fully closed lids hide the open eye."""
    limited = np.array(expression)
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        column = rig.expression_index[name]
        limited[:, column] = np.minimum(limited[:, column], _MAX_REST_BLINK)
    return limited
