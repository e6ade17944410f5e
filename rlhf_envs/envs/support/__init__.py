"""`rlhf/Support-v1`: a support desk; closed tickets are easy to count, solved ones are not."""
