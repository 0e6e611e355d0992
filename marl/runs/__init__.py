"""The folder of a training run: what it says, its log, its checkpoints and its lock."""
