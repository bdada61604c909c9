"""One file for each suite of environments; `common.envs.registry` knows their names."""
