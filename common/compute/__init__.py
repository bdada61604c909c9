"""How tensors are computed quickly; nothing here knows what a network is.

`loading` and `devices` set TensorFlow up, `graphs` has small helpers, `scans` loops
over time, `onehots` multiplies with one-hot vectors, `chunks` differentiates piece by
piece, and `replicas` shares a batch among devices.
"""
