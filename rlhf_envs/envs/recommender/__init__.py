"""`rlhf/Recommender-v1`: a reader's feed; clicks are easy to count, a satisfied reader is not."""
