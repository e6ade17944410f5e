"""Evaluation of policies on the true reward, and of reward models on held-out answers and the true reward."""
