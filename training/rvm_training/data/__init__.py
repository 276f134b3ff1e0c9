"""Clips for training: which videos there are, which frames a step needs, and how they are decoded."""
