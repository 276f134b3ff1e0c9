"""What ROS costs around the engine: from publishing an image in one process to receiving its features in another."""
