"""What is known of OpenVINO's nodes: how to write them, and what they compute exactly."""
