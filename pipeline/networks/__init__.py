"""Learned inversions: the architectures, how a field becomes their input and their output a map, and their weights."""
