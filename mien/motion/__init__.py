"""Lanes of face motion and how they are composed."""
