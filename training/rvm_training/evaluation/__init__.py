"""Evaluation by the field's protocols, with the arithmetic of the public reference code."""
