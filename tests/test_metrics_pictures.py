"""Measures of pictures: by hand, against scikit-image, and on output that is broken on purpose."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mien import metrics
from mien.metrics.pictures import MS_SSIM_WEIGHTS


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A smooth scene with some grain, 200 x 192."""
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.uniform(40, 215, (25, 24, 3)), np.ones((8, 8, 1)))
    return np.clip(coarse + rng.normal(0, 6, coarse.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def worse(picture: np.ndarray) -> list[np.ndarray]:
    """Grain, a shift by one pixel, and a third of the picture gone black."""
    rng = np.random.default_rng(1)
    grainy = np.clip(picture + rng.normal(0, 12, picture.shape), 0, 255).astype(np.uint8)
    black = picture.copy()
    black[:66] = 0
    return [grainy, np.roll(picture, 1, axis=1), black]


def reference_ssim(a: np.ndarray, b: np.ndarray, **constants: float) -> float:
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return structural_similarity(a, b, channel_axis=-1, data_range=255, **window, **constants)


def test_psnr_by_hand_and_by_the_library(picture, worse):
    a = np.zeros((4, 4, 3), np.uint8)
    b = a.copy()
    b[0, 0, 0] = 48  # MSE = 48² / 48 = 48
    assert metrics.psnr(a, b) == pytest.approx(10 * np.log10(255**2 / 48))
    assert metrics.psnr(a, a) == float("inf")
    with pytest.raises(ValueError, match="shape"):
        metrics.psnr(a, b[:2])
    for other in worse:
        assert metrics.psnr(picture, other) == pytest.approx(peak_signal_noise_ratio(picture, other), abs=1e-4)


def test_a_small_fault_shows_inside_the_mask_alone(picture):
    broken = picture.copy()
    broken[90:100, 90:100] = 0
    face = np.zeros(picture.shape[:2], bool)
    face[85:105, 85:105] = True
    assert metrics.psnr(picture, broken, face) < metrics.psnr(picture, broken) - 15
    assert metrics.average_pixel_distance(picture, broken, face) > 20 * metrics.average_pixel_distance(picture, broken)


def test_ssim_agrees_with_scikit_image(picture, worse):
    assert metrics.ssim(picture, picture) == pytest.approx(1, abs=1e-6)
    for other in worse:
        assert metrics.ssim(picture, other) == pytest.approx(reference_ssim(picture, other), abs=1e-4)
        assert metrics.ssim(picture, other) < 0.95
    with pytest.raises(ValueError, match="11 px"):
        metrics.ssim(picture[:8], picture[:8])


def test_ssim_of_two_plain_greys_is_their_luminance_term():
    a, b = np.full((20, 20, 3), 100, np.uint8), np.full((20, 20, 3), 150, np.uint8)
    c = (0.01 * 255) ** 2
    assert metrics.ssim(a, b) == pytest.approx((2 * 100 * 150 + c) / (100**2 + 150**2 + c), abs=1e-4)


def test_ms_ssim_is_made_of_scikit_images_scales(picture, worse):
    """With an enormous K1 scikit-image's luminance term is 1, and what is left is contrast and structure."""

    def halved(image: np.ndarray) -> np.ndarray:
        even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        return even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2, 3).mean((1, 3))

    assert metrics.ms_ssim(picture, picture) == pytest.approx(1, abs=1e-6)
    for other in worse:
        a, b = picture.astype(float), other.astype(float)
        expected = 1.0
        for scale, weight in enumerate(MS_SSIM_WEIGHTS):
            expected *= reference_ssim(a, b, **({} if scale == 4 else {"K1": 1e6})) ** weight
            a, b = halved(a), halved(b)
        assert metrics.ms_ssim(picture, other) == pytest.approx(expected, abs=1e-4)
        assert metrics.ms_ssim(picture, other) < 0.995
    with pytest.raises(ValueError, match="176 px"):
        metrics.ms_ssim(picture[:100], picture[:100])


def test_average_pixel_distance_is_the_length_of_the_colour_difference():
    a, b = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint8)
    b[0, 0] = (3, 4, 0)
    b[1, 1] = (0, 0, 7)
    assert metrics.average_pixel_distance(a, b) == pytest.approx((5 + 7) / 4)
    assert metrics.average_pixel_distance(a, b, np.array([[True, False], [False, False]])) == pytest.approx(5)


def test_flicker_is_blind_to_steady_change_and_sees_every_other_frame():
    grey = [np.full((4, 4, 3), 100 + step, np.uint8) for step in (0, 5, 10)]
    assert metrics.second_difference(*grey) == 0
    assert metrics.second_difference(grey[0], grey[1], grey[0]) == pytest.approx(10)  # |100 - 2·105 + 100|


def test_frechet_distance_by_hand_and_by_scipy():
    rng = np.random.default_rng(2)
    # On one axis it is (m - m')² + (s - s')²; ddof 1: [0, 2] has deviation √2, [1, 7] has 3√2.
    assert metrics.frechet_distance([[0], [2]], [[1], [7]]) == pytest.approx((1 - 4) ** 2 + (2**0.5 * 2) ** 2)
    a, b = rng.normal(size=(60, 5)), rng.normal(0.3, 1.5, size=(50, 5)) @ rng.normal(size=(5, 5))
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * sqrtm(ca @ cb).real)
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="two rows"):
        metrics.frechet_distance(a, b[:1])


def test_cosine_similarity():
    assert metrics.cosine_similarity([1, 0], [1, 1]) == pytest.approx(0.5**0.5)
    assert metrics.cosine_similarity([1, 2], [-2, -4]) == pytest.approx(-1)
