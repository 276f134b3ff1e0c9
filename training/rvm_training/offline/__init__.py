"""Recordings processed without a robot: features of bags and videos, clips, reports, checks."""
