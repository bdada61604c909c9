"""Adapter of sheeprl's DreamerV2 with `algo.compile.enabled`; needs a C++ compiler."""

import importlib.util
import pathlib

# The package of that name is another one: a host's adapter is no module of a package.
_file = pathlib.Path(__file__).with_name("sheeprl.py")
_spec = importlib.util.spec_from_file_location("plain", _file)
plain = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(plain)
plain.COMPILE = True

NAME = "sheeprl, compiled"
make_update, make_policy = plain.make_update, plain.make_policy
