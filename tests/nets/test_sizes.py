"""Which images the convolutions take and draw, and the kernels that are proposed."""

import re

import pytest

from common.nets import sizes
from dreamerv2 import settings

DEFAULTS = settings.defaults
SHAPES = {"image": (64, 64, 3), "depth": (64, 64, 1), "vector": (5,)}


def checked(shapes, encoder="", decoder=""):
    """Checks shapes under kernels of the command line."""
    flat = {"encoder.cnn_kernels": encoder, "decoder.cnn_kernels": decoder}
    config = DEFAULTS.update({key: value for key, value in flat.items() if value})
    sizes.check(shapes, config.encoder, config.decoder)


def test_the_kernels_that_are_the_default_fit_the_size_that_is():
    side, _ = DEFAULTS.render_size
    checked(SHAPES)
    encoder, decoder = sizes.fitting(side)
    assert encoder == list(DEFAULTS.encoder.cnn_kernels)
    assert decoder == list(DEFAULTS.decoder.cnn_kernels)


@pytest.mark.parametrize("side", [*range(1, 130), 224, 256])
def test_the_kernels_that_an_error_names_fit(side):
    shapes = {"image": (side, side, 3)}
    try:
        checked(shapes)
    except ValueError as error:
        words = re.search(r"encoder.cnn_kernels (\S+) --decoder\S+ (\S+)\.", str(error))
        checked(shapes, *words.groups())
    else:
        assert side == 64


def test_images_that_are_no_squares_have_a_way_out_too():
    with pytest.raises(
        ValueError, match="only squares can be drawn: set --render_size"
    ):
        checked({"image": (64, 96, 3)})
    checked({"image": (64, 96, 3), "vector": (5,)} | {"image": (64, 64, 3)})


def test_images_of_two_sizes_are_named():
    with pytest.raises(ValueError, match=r"differ in size: .*\(48, 48, 1\)"):
        checked({**SHAPES, "depth": (48, 48, 1)})


def test_vectors_need_no_kernels():
    checked({"vector": (5,)}, encoder="99", decoder="99")


def test_observations_that_nobody_reads_are_an_error():
    with pytest.raises(ValueError, match="No observation is used"):
        config = DEFAULTS.update({"encoder.cnn_keys": "x", "encoder.mlp_keys": "x"})
        sizes.check(SHAPES, config.encoder, config.decoder)
