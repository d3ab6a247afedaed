import numpy as np

from mien.rotations import axis_angle_from_matrix, compose, matrix_from_axis_angle, slerp_sequence


def test_signs_follow_the_convention():
    nose = np.array([0.0, 0.0, 1.0])
    assert (matrix_from_axis_angle([0.2, 0, 0]) @ nose)[1] < -0.19  # nods down
    assert (matrix_from_axis_angle([0, 0.2, 0]) @ nose)[0] > 0.19  # turns to the subject's left
    top = np.array([0.0, 1.0, 0.0])
    assert (matrix_from_axis_angle([0, 0, 0.2]) @ top)[0] < -0.19  # tilts counter-clockwise for the viewer


def test_matrices_and_vectors_are_inverse():
    vectors = np.random.default_rng(0).normal(0, 0.6, (5, 2, 3))
    np.testing.assert_allclose(axis_angle_from_matrix(matrix_from_axis_angle(vectors)), vectors, atol=1e-5)


def test_compose_applies_the_first_first():
    first, second = [0.3, 0, 0], [0, 0.7, 0]
    both = matrix_from_axis_angle(second) @ matrix_from_axis_angle(first)
    np.testing.assert_allclose(matrix_from_axis_angle(compose(second, first)), both, atol=1e-6)


def test_slerp_reads_between_frames():
    sequence = np.array([[[0, 0, 0], [0, 0, 0.2]], [[0.4, 0, 0], [0, 0, 0.4]]])
    np.testing.assert_allclose(
        slerp_sequence(sequence, [0.25, 1.0]), [[[0.1, 0, 0], [0, 0, 0.25]], [[0.4, 0, 0], [0, 0, 0.4]]], atol=1e-6
    )
