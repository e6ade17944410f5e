"""`rlhf/Glimpse-v0`: digits seen piece by piece; fast answers are easy to count, careful reading is not."""
