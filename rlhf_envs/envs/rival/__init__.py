"""`rlhf/Rival-v1`: the computer's side of an arcade duel; winning is easy to count, a good match is not."""
