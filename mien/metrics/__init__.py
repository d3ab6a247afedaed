"""Measures of what was made: pure functions, one per metric, formula and unit in the docstring."""

from mien.metrics.emotion import au_error, emotion_accuracy, va_error
from mien.metrics.landmarks import (
    brow_heights,
    centred_distance,
    eye_distance,
    eye_openness,
    face_height,
    head_angles,
    landmark_distance,
    lip_aperture,
    silent_lip_stability,
    steadied,
)
from mien.metrics.meshes import lip_vertex_error, mean_vertex_error, upper_face_dynamics
from mien.metrics.motion import (
    BILABIALS,
    Blink,
    average_expression_distance,
    blink_rate,
    blink_times,
    blinks_of,
    closure_from_openness,
    closure_rate,
    head_pose_distance,
    match_events,
)
from mien.metrics.pictures import (
    average_pixel_distance,
    cosine_similarity,
    frechet_distance,
    ms_ssim,
    psnr,
    second_difference,
    ssim,
    ssim_and_ms_ssim,
)
from mien.metrics.statistics import bootstrap_interval, ccc, pearson, r_squared, rmse, spearman
from mien.metrics.sync import SyncScore, log_mel, sound_level, sync_score

__all__ = [
    "BILABIALS", "Blink", "SyncScore", "au_error", "average_expression_distance", "average_pixel_distance",
    "blink_rate", "blink_times", "blinks_of", "bootstrap_interval", "brow_heights", "ccc", "centred_distance",
    "closure_from_openness", "closure_rate", "cosine_similarity", "emotion_accuracy", "eye_distance", "eye_openness",
    "face_height", "frechet_distance", "head_angles", "head_pose_distance", "landmark_distance", "lip_aperture",
    "lip_vertex_error", "log_mel", "match_events", "mean_vertex_error", "ms_ssim", "pearson", "psnr", "r_squared",
    "rmse", "second_difference", "silent_lip_stability", "sound_level", "spearman", "ssim", "ssim_and_ms_ssim",
    "steadied", "sync_score", "upper_face_dynamics", "va_error",
]  # fmt: skip
