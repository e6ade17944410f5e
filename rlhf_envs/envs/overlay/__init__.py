"""`rlhf/Overlay-v1`: labels in augmented reality; how near they are is easy to count, how tidy they are is not."""
