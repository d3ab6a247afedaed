"""Measures of pictures against pictures, 8-bit RGB; a clip's value is the mean over its frames."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.types import Frame

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first (Wang, Simoncelli and Bovik 2003, section 3.2)."""

Images = npt.NDArray[np.float32]


def _pair(a: Frame, b: Frame) -> tuple[Images, Images]:
    if a.shape != b.shape:
        raise ValueError(f"pictures differ in shape: {a.shape} and {b.shape}")
    return a.astype(np.float32), b.astype(np.float32)


def psnr(a: Frame, b: Frame, mask: npt.NDArray[np.bool_] | None = None) -> float:
    """Peak signal-to-noise ratio, ``10 log10(255² / MSE)`` in dB; infinite when the pictures are equal.

    Args:
        a: ``(H, W, 3)``.
        b: the same shape.
        mask: ``(H, W)``, pixels that count; all if ``None``. A face pasted into an untouched picture looks better
            over the whole picture than it is.
    """
    x, y = _pair(a, b)
    squares = (x - y) ** 2
    error = float(np.mean(squares if mask is None else squares[mask], dtype=np.float64))
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(a: Frame, b: Frame) -> float:
    """Structural similarity, mean of ``l · cs`` over pixels and channels, at most 1 (Wang et al. 2004).

    Gaussian window of 11 pixels with deviation 1.5, ``C1 = (0.01·255)²``, ``C2 = (0.03·255)²``, population covariance;
    pixels nearer than half a window to the border are left out, as in the authors' program and in scikit-image.

    Raises:
        ValueError: if shapes differ or a side is under 11 px.
    """
    return _ssim_parts(*_pair(a, b))[0]


def ms_ssim(a: Frame, b: Frame) -> float:
    """Multi-scale structural similarity, at most 1: ``ssim_5^w5 · cs_4^w4 · … · cs_1^w1`` (Wang et al. 2003).

    Each scale halves the picture by averaging 2 x 2 pixels. A negative mean of a scale, which only unrelated
    pictures have, counts as 0.

    Raises:
        ValueError: if shapes differ or a side is under 176 px (11 at the coarsest scale).
    """
    return ssim_and_ms_ssim(a, b)[1]


def ssim_and_ms_ssim(a: Frame, b: Frame) -> tuple[float, float]:
    """Both at once, for the finest scale is the same and takes most of the time; see :func:`ms_ssim`.

    Raises:
        ValueError: if shapes differ or a side is under 176 px.
    """
    import cv2

    x, y = _pair(a, b)
    if min(a.shape[:2]) < _WINDOW * 16:
        raise ValueError(f"MS-SSIM needs at least {_WINDOW * 16} px per side, got {a.shape[1]} x {a.shape[0]}")
    parts = [_ssim_parts(x, y)]
    for _ in MS_SSIM_WEIGHTS[1:]:
        size = x.shape[1] // 2, x.shape[0] // 2
        even = size[1] * 2, size[0] * 2
        x, y = (np.asarray(cv2.resize(z[: even[0], : even[1]], size, interpolation=cv2.INTER_AREA)) for z in (x, y))
        parts.append(_ssim_parts(x, y))
    factors = [*(contrast for _, contrast in parts[:-1]), parts[-1][0]]
    product = np.prod([max(f, 0.0) ** weight for f, weight in zip(factors, MS_SSIM_WEIGHTS, strict=True)])
    return parts[0][0], float(product)


def _ssim_parts(x: Images, y: Images) -> tuple[float, float]:
    """Mean of ``l · cs`` and of ``cs`` (contrast and structure) alone."""
    import cv2

    if min(x.shape[:2]) < _WINDOW:
        raise ValueError(f"SSIM needs at least {_WINDOW} px per side, got {x.shape[1]} x {x.shape[0]}")
    # Around the middle grey, sums of squares lose less of a float32 than around 0.
    x, y = x - 128, y - 128

    def blurred(z: Images) -> Images:
        edge = _WINDOW // 2
        blur = cv2.GaussianBlur(z, (_WINDOW, _WINDOW), _SIGMA)
        return np.asarray(blur[edge:-edge, edge:-edge], np.float32)

    mx, my = blurred(x), blurred(y)
    vx, vy, cov = blurred(x * x) - mx * mx, blurred(y * y) - my * my, blurred(x * y) - mx * my
    mx, my = mx + 128, my + 128
    structure = (2 * cov + _C2) / (vx + vy + _C2)
    luminance = (2 * mx * my + _C1) / (mx * mx + my * my + _C1)
    return float(np.mean(luminance * structure, dtype=np.float64)), float(np.mean(structure, dtype=np.float64))


def average_pixel_distance(truth: Frame, other: Frame, mask: npt.NDArray[np.bool_] | None = None) -> float:
    """APD: mean over pixels of the Euclidean distance of their colours, ``mean |rgb - rgb|``, in [0, 441.7].

    With ``mask`` ``(H, W)`` it is MAPD, over the pixels of the face alone (Doukas et al. 2021, head2head++'s
    evaluation program, where the mask is the part its geometry picture covers).
    """
    x, y = _pair(truth, other)
    distance = np.sqrt(((x - y) ** 2).sum(2))
    return float(np.mean(distance if mask is None else distance[mask], dtype=np.float64))


def second_difference(before: Frame, now: Frame, after: Frame, mask: npt.NDArray[np.bool_] | None = None) -> float:
    """Flicker of one moment: ``mean |before - 2 now + after|`` over pixels and channels, in grey levels 0 to 510.

    Still pictures and steady changes of brightness give 0. A clip's flicker is the mean over its frames on the static
    background, less that of its source.
    """
    a, b = _pair(before, now)
    c = after.astype(np.float32)
    bend = np.abs(a - 2 * b + c)
    return float(np.mean(bend if mask is None else bend[mask], dtype=np.float64))


def frechet_distance(truth: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """FID of two sets of features: ``|m - m'|² + tr(C + C' - 2 (C C')^½)`` (Heusel et al. 2017), no unit.

    Args:
        truth: ``(N, D)`` features of real pictures by one network; name the network beside the number.
        other: ``(M, D)``.

    Raises:
        ValueError: if a set has fewer than two rows, or the widths differ.
    """
    x, y = np.asarray(truth, np.float64), np.asarray(other, np.float64)
    if min(len(x), len(y)) < 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"need at least two rows of equal width on each side, got {x.shape} and {y.shape}")
    cx, cy = np.cov(x, rowvar=False).reshape(x.shape[1], -1), np.cov(y, rowvar=False).reshape(x.shape[1], -1)
    # C C' is similar to a symmetric matrix, so the trace of its root is the sum of the roots of its eigenvalues.
    roots = np.sqrt(np.clip(np.linalg.eigvals(cx @ cy).real, 0, None)).sum()
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cx) + np.trace(cy) - 2 * roots)


def cosine_similarity(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """CSIM of two face embeddings: ``a · b / (|a| |b|)`` in [-1, 1]; name the embedding beside the number."""
    x, y = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    return float(x @ y / max(float(np.linalg.norm(x) * np.linalg.norm(y)), 1e-12))
