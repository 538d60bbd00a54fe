"""What is measured of a model: accuracy, attention span, speed and memory."""
