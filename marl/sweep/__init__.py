"""Sweeps: grids of trainings and evaluations, their runs and their results."""
