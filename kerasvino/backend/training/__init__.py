"""What the trainer is made of: the steps, the functions that run them, their data."""
