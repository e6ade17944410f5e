"""Command lines of runs that take a second."""

TINY = [
    *("--timesteps", "256", "--answers", "8", "--held-out-share", "0.25", "--segment-length", "5"),
    *("--visit-every", "1", "--ask-until", "0.5"),
    *("--learner.num-envs", "4", "--learner.n-steps", "16", "--learner.batch-size", "64", "--learner.n-epochs", "1"),
    *("--learner.net-arch", "8", "--ensemble.hidden", "8", "--fit.steps", "10", "--evaluation-episodes", "2"),
]
DRIVING = ["--env", "rlhf/Driving-v1", "--env-kwargs", '{"horizon": 20}', *TINY]
RECOMMENDER = ["--env", "rlhf/Recommender-v1", "--env-kwargs", '{"horizon": 20}', *TINY]
WALK = ["--env", "tests.sb3.environments:test/Walk-v0", *TINY]
