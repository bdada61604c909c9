"""Watching a trained agent: `show` makes a video of `film`s, or a table."""
