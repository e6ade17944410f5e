"""Training with Stable-Baselines3: presets, pretraining, the training run, evaluation and report."""
