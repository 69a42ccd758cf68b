"""Sampling kernels: arrays in, arrays out. ``reference`` is the definition of truth, the others are held to it."""
