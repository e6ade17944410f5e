"""`rlhf/Writing-v1`: short notes, word by word; keywords are easy to count, good writing is not."""
