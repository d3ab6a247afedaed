"""The twelve soft regions of a face and which expressions belong to which."""

from __future__ import annotations

REGION_NAMES: tuple[str, ...] = tuple(
    f"{area}_{side}" for area in ("brow", "eye", "nose", "cheek", "mouth", "jaw") for side in ("left", "right")
)
"""Areas of the face, the subject's left and right."""

_AREA_OF_PREFIX = {"tongue": "mouth"}
_NOT_A_SIDE = frozenset({"mouthLeft", "mouthRight", "jawLeft", "jawRight"})


def regions_of_expression(name: str) -> tuple[str, ...]:
    """The regions that an expression belongs to: one for a one-sided shape, else both sides of its area.

    ``"mouthSmileLeft"`` gives ``("mouth_left",)``, ``"jawOpen"`` gives ``("jaw_left", "jaw_right")``;
    ``"mouthLeft"`` moves the whole mouth to the left and so belongs to both sides.

    Raises:
        KeyError: if the name is none of ARKit's.
    """
    prefix = name[: next((i for i, letter in enumerate(name) if letter.isupper()), len(name))]
    area = _AREA_OF_PREFIX.get(prefix, prefix)
    if f"{area}_left" not in REGION_NAMES:
        raise KeyError(f"{name}: not an ARKit expression name")
    for side in ("Left", "Right"):
        if name.endswith(side) and name not in _NOT_A_SIDE:
            return (f"{area}_{side.lower()}",)
    return (f"{area}_left", f"{area}_right")
