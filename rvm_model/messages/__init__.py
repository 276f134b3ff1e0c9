"""Messages of cameras as arrays, and what their stamps say, wherever the messages come from.

Nothing here imports ROS: a message is whatever has the fields of its ROS type, from a topic or from a bag.
"""
