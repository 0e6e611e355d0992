"""The folder of a training run: its description, log, checkpoints and lock."""
