"""Pretraining: masked reconstruction of future frames, from one process to a cluster (paper sections 3 and 4)."""
