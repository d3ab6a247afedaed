"""Faces as geometry: rigs, rotations, regions, action units."""
