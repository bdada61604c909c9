"""The two choices that make up a replay, and how to make one's own.

Which episodes stay is a `Retention`, which ones are drawn a `Sampling`; any two work
together. Both make themselves from a configuration. One of your own is a class that
derives from either, named by a setting as `module:Class`; the base classes say in which
order they are called.
"""

from common.replay.strategies.base import Agent, Retention, Sampling
from common.replay.strategies.make import make_retention, make_sampling

__all__ = ["Agent", "Retention", "Sampling", "make_retention", "make_sampling"]
