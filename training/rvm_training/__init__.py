"""Pretraining, evaluation and export of RVM, and the `rvm` command. Needs no ROS."""
