"""oneDNN's products are torch's, do not depend on the batch, and are left out where gradients are
wanted.
"""

import copy

import pytest
import torch

from tracedlm.models.cpu import OneDnnLinear, use_onednn

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN"
)


@pytest.fixture(params=[True, False], ids=["bias", "no bias"])
def pair(request):
    """A layer of torch's and its twin."""
    torch.manual_seed(0)
    plain = torch.nn.Linear(48, 33, bias=request.param)
    model = torch.nn.Sequential(copy.deepcopy(plain))
    use_onednn(model)
    assert type(model[0]) is OneDnnLinear and type(plain) is torch.nn.Linear
    return plain, model[0]


@torch.inference_mode()
def test_the_product_is_torchs(pair):
    plain, fast = pair
    for x in (torch.randn(5, 7, 48), torch.randn(48, 7, 5).permute(2, 1, 0), torch.randn(3, 48)):
        torch.testing.assert_close(fast(x), plain(x), rtol=1e-6, atol=1e-6)


@torch.inference_mode()
def test_a_row_does_not_depend_on_the_others(pair):
    x = torch.randn(16, 9, 48)
    assert all(
        torch.equal(pair[1](x[row : row + 1]), pair[1](x)[row : row + 1]) for row in range(16)
    )


def test_training_is_torchs_to_the_bit(pair):
    x = torch.randn(5, 7, 48, requires_grad=True)
    found = []
    for layer in pair:
        y = layer(x)
        found.append((y, *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@torch.inference_mode()
def test_other_precisions_are_torchs(pair):
    plain, fast = (layer.to(torch.bfloat16) for layer in pair)
    x = torch.randn(4, 48, dtype=torch.bfloat16)
    assert torch.equal(fast(x), plain(x))


def test_subclasses_keep_their_product():
    class Doubled(torch.nn.Linear):
        def forward(self, input):
            return 2 * super().forward(input)

    model = torch.nn.Sequential(Doubled(3, 3))
    use_onednn(model)
    assert type(model[0]) is Doubled
