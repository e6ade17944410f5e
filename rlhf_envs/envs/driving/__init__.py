"""`rlhf/Driving-v1`: a busy road; speed is easy to count, considerate driving is not."""
