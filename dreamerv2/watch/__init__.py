"""Watching a trained agent: a `snapshot`, a `player` of it, and what is to be seen."""
