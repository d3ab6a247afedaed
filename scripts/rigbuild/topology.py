"""Which of the 478 landmarks is what: loops, pairs and correspondences, in mediapipe's order."""

from __future__ import annotations

LIPS_OUTER_UPPER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LIPS_OUTER_LOWER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
LIPS_INNER_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LIPS_INNER_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
"""Lip contours from the subject's right corner to the left one; upper and lower go in pairs."""

LIP_RINGS_UPPER = ((61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
                   (76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306),
                   (62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292),
                   (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308))  # fmt: skip
LIP_RINGS_LOWER = ((61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
                   (76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306),
                   (62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292),
                   (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308))  # fmt: skip
"""The four rings of each lip from the skin's edge to the mouth's opening."""

EYE_UPPER = {
    "right": (33, 246, 161, 160, 159, 158, 157, 173, 133),
    "left": (263, 466, 388, 387, 386, 385, 384, 398, 362),
}
EYE_LOWER = {"right": (33, 7, 163, 144, 145, 153, 154, 155, 133), "left": (263, 249, 390, 373, 374, 380, 381, 382, 362)}
"""Lid contours from the outer to the inner corner; upper and lower go in pairs."""

IRIS = {"right": (468, 469, 470, 471, 472), "left": (473, 474, 475, 476, 477)}
"""Centre, then the rim at the viewer's right, top, viewer's left, bottom."""

BROW_UPPER = {"right": (70, 63, 105, 66, 107), "left": (300, 293, 334, 296, 336)}
BROW_LOWER = {"right": (46, 53, 52, 65, 55), "left": (276, 283, 282, 295, 285)}

FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip

LANDMARKS_68 = (
    127, 234, 132, 58, 172, 150, 176, 148, 152, 377, 400, 379, 397, 288, 361, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 98, 97, 2, 326, 327,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
"""The iBUG 68 points; the jaw line is the nearest contour point, for the mesh has no silhouette of its own."""
