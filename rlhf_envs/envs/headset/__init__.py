"""`rlhf/Headset-v1`: a ride in virtual reality; stimulation is easy to count, a pleasant ride is not."""
