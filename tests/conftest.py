"""Every test runs without a screen, and on one thread, so that tests run side by side do not slow one another."""

import os

os.environ["SDL_VIDEODRIVER"] = "dummy"
os.environ["SDL_AUDIODRIVER"] = "dummy"
os.environ["MPLBACKEND"] = "Agg"
os.environ["OMP_NUM_THREADS"] = "1"

import torch

torch.set_num_threads(1)
