"""Recipes that make the weights mien ships or a user trains."""
