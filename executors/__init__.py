"""Passes run by datatrove's executors, on this machine, on Ray or on Slurm; nothing here knows a stage."""
