"""The ROS 2 package: nodes, and between messages and arrays. What is perceived is `rvm_model`'s work."""
