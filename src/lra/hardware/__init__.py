"""The device a job runs on: choice, GPU lock, GPU meter."""
