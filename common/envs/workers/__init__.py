"""Environments in processes of their own; `supervised` starts failed ones anew."""
