"""Heads: what is made of features. They never ask which engine made them; their state is passed in and returned."""
