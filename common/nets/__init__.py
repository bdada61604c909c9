"""Networks: `layers` and `convolutions`, `coders` (encoder and decoder), `heads`.

`dists` has the distributions on top, `optim` the optimisers, and `embeddings` a network
that is never trained.
"""
