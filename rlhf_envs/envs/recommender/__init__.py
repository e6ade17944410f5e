"""`rlhf/Recommender-v0`: a reader's feed; clicks are easy to count, a satisfied reader is not."""
