"""`rlhf/Glimpse-v1`: digits seen piece by piece; fast answers are easy to count, careful reading is not."""
