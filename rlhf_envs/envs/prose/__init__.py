"""`rlhf/Prose-v0`: a real, small language model goes on with the sentences of books, as people like to read it."""
