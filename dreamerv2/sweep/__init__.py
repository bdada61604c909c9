"""Sweeps: every trial of a file (`form`, `plan`) in a process of its own."""
