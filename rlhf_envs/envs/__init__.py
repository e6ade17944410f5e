"""The environments: batched tasks, their two Gymnasium views, and their registration."""
