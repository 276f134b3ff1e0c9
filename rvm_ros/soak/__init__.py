"""Hostile messages and good frames for a perception node that runs, and a count of what came of them."""
