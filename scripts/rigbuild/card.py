"""The card of the built-in rig: what it was made from and how well it explains faces that it was not made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.assets import sha256_of
from mien.types import ARKIT_NAMES
from rigbuild import learn
from rigbuild.assemble import mirror_name
from rigbuild.binding import N_SURFACE
from rigbuild.sources import Array
from rigbuild.teacher import align

LEAST_ACTIVE = 0.02
"""A shape is judged on the check clips if the teacher's score varies at least by this standard deviation."""

LEAST_CHANGE = 2e-4
"""A correction of less, in metres, is not called one."""


@dataclass(frozen=True)
class Facts:
    """Everything the card tells; see :func:`write`."""

    prior: Array
    learned: learn.Learned
    shapes: Array
    answers: Array
    check_answers: Array
    seen: learn.Motion
    check: learn.Motion
    check_clips: int
    basis: Array
    template: Array
    identity_basis: Array
    faces: Array
    check_faces: Array


def cosine(seen: learn.Motion, shapes: Array) -> tuple[Array, Array]:
    """How shapes ``(52, 468, 3)`` agree with motion ``seen``: per shape the cosine and the gain.

    What all other shapes explain is taken off the motion first; then cosine and least-squares gain are those between
    the shape and the regression of what is left on the shape's own weight, in the picture plane.
    """
    flat = shapes[..., :2].reshape(len(shapes), -1)
    left = seen.moves[..., :2].reshape(len(seen.moves), -1) - seen.weights @ flat
    cosines, gains = np.full(len(shapes), np.nan), np.full(len(shapes), np.nan)
    for k, shape in enumerate(flat):
        weight = seen.weights[:, k]
        if weight.std() < LEAST_ACTIVE or not shape.any():
            continue
        moved = weight @ left / (weight**2).sum() + shape
        cosines[k] = moved @ shape / np.linalg.norm(moved) / np.linalg.norm(shape)
        gains[k] = moved @ shape / (shape @ shape)
    return cosines, gains


def identity_residual(faces: Array, template: Array, basis: Array, ridge: float = 1.0) -> tuple[float, float]:
    """RMS distance in mm of faces to the template, and to the nearest face of the basis (betas with a unit prior).

    The assumed noise of a landmark is ``ridge`` millimetres; faces are aligned to the model before and after fitting.
    """
    flat = basis[:, :N_SURFACE].reshape(len(basis), -1)
    before, after = [], []
    for face in faces:
        model = template[:N_SURFACE]
        before.append(_rms(align(face, model)[:N_SURFACE] - model))
        for _ in range(4):
            gap = (align(face, model)[:N_SURFACE] - template[:N_SURFACE]).ravel()
            betas = np.linalg.solve(flat @ flat.T + (ridge * 1e-3) ** 2 * np.eye(len(flat)), flat @ gap)
            model = template[:N_SURFACE] + (betas @ flat).reshape(-1, 3)
        after.append(_rms(align(face, model)[:N_SURFACE] - model))
    return float(np.mean(before)), float(np.mean(after))


def _rms(gap: Array) -> float:
    return float(np.sqrt((gap**2).sum(-1).mean()) * 1000)


def write(path: Path, facts: Facts, sources: list[Path], root: Path, people: list[str]) -> None:
    """Write the card as Markdown."""
    surface = facts.shapes[:, :N_SURFACE]
    own = np.diag(facts.answers)
    check_own = np.diag(facts.check_answers)
    cosines, gains = cosine(facts.check, surface)
    prior_cosines, _ = cosine(facts.check, facts.prior)
    far, near = identity_residual(facts.check_faces, facts.template, facts.identity_basis)
    rows = []
    for k, name in enumerate(ARKIT_NAMES):
        if name != mirror_name(name) and name.endswith("Right"):
            continue
        source = "own" if name == "tongueOut" else _source(facts, k)
        size = np.linalg.norm(facts.basis[k], axis=-1).max() * 1000
        label = name if mirror_name(name) == name else f"{name}, Right"
        rows.append(
            f"| {label} | {source} | {size:.1f} | {own[k]:.2f} | {check_own[k]:.2f} | {_cell(prior_cosines[k])} "
            f"| {_cell(cosines[k])} | {_cell(gains[k])} |"
        )
    files = "\n".join(f"| {file.relative_to(root)} | {sha256_of(file)} |" for file in sources)
    path.write_text(
        CARD.format(
            n_identities=len(facts.identity_basis),
            n_vertices=len(facts.template),
            people=", ".join(people),
            n_people=len(people),
            n_frames=len(facts.seen.moves),
            n_check=len(facts.check.moves),
            n_check_clips=facts.check_clips,
            prior_seen=100 * learn.explained(facts.seen, facts.prior),
            prior_check=100 * learn.explained(facts.check, facts.prior),
            seen=100 * learn.explained(facts.seen, surface),
            check=100 * learn.explained(facts.check, surface),
            far=far,
            near=near,
            rows="\n".join(rows),
            files=files,
        ),
        encoding="utf-8",
    )


def _source(facts: Facts, k: int) -> str:
    moved = facts.learned.shapes[k] / facts.learned.scales[k] - facts.prior[k]
    changed = facts.learned.corrected[k] and np.abs(moved).max() > LEAST_CHANGE
    return f"{'corrected' if changed else 'ICT'} × {facts.learned.scales[k]:.2f}"


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


CARD = """# The built-in rig

Written by `scripts/build_rig.py` together with `builtin.npz`; do not edit. How it is made is told in `docs/rig.md`.

{n_vertices} vertices (478 mediapipe landmarks, eyeballs, teeth, tongue, cavity), 52 expressions under ARKit's names,
{n_identities} identity components, 12 soft regions.

**Made from** MediaPipe's canonical face (triangles, uv; Apache-2.0), ICT-FaceKit (surface, expressions, identities;
MIT, © 2020 USC Institute for Creative Technologies), and statistics of {n_people} people tracked in {n_frames} frames
with MediaPipe's Face Landmarker, which also is the teacher of the 52 names (Apache-2.0):
{people}.
No picture, texture or single person's face is in the file. Speaker s1 is from the GRID audiovisual sentence corpus
(Cooke, Barker, Cunningham and Shao 2006), which its authors publish under CC BY 4.0; the copy used carries no licence
file. The LatentSync clips show contracted models, the AniTalker faces are computer-made; both repositories are
Apache-2.0.

**Checked on** {n_check} frames of {n_check_clips} clips of other people. No shape was estimated from them, but the
figures below were looked at when a few settings of the build (ridge weight, limits) were chosen.

| | ICT's shapes alone | this rig |
| --- | --- | --- |
| motion explained, frames it was made from | {prior_seen:.1f} % | {seen:.1f} % |
| motion explained, check clips | {prior_check:.1f} % | {check:.1f} % |

Motion explained: share of the variance of the landmarks in the picture plane (head motion and each clip's mean taken
off) that the shapes give with the teacher's scores as weights. Tracker noise and the teacher's own errors are in the
rest.

Neutral faces of the check clips: {far:.2f} mm RMS from the template, {near:.2f} mm from the nearest face of the
identity basis (betas with a unit normal prior, 1 mm noise, all three axes; mediapipe guesses depth).

## Shapes

* source: ICT's shape or one corrected by tracked motion, and its scale (`mouthClose` is scaled to seal the lips).
  `own`: ICT has no such shape.
* mm: the largest movement of a vertex at weight 1 on the template, all three axes, closing included.
* answer: the teacher's score for the shape's own name, shown the rig with that weight at 1, less its score at rest; on
  the faces it was made from and on the check clips' faces. The target is a score of 0.8. The teacher never scores
  cheeks, nose, jawForward, mouthClose and tongueOut. `eyeLook*` moves lids only, the teacher looks at irises.
* cos ICT, cos rig: agreement with what the check clips show for this name after all other shapes are taken off.
* gain: how much further the check clips move than the rig per unit of the teacher's score; below 1 where scores come
  in company (a blink is scored as eyeBlink and eyeLookDown at once).

| name | source | mm | answer | check answer | cos ICT | cos rig | gain |
| --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

## Limits

* Seven people, mostly speaking English: cheeks, nose, tongue and strong emotion are ICT's sculpted shapes.
* Shapes add up linearly; a real lid or jaw turns. Lids close exactly, lips seal exactly; in between paths are straight.
* The 478 landmarks end at the hairline and jaw: no ears, hair, neck.

## Inputs

| file | sha256 |
| --- | --- |
{files}
"""
