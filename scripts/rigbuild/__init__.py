"""The pieces of ``scripts/build_rig.py``: sources, binding, parts, teacher, card."""
