"""One page that shows a run: what the camera saw, what was made of it, and when something went wrong."""
