"""Linear layers that a CPU computes with oneDNN.

PyTorch hands float32 matrix products to MKL, which chooses its kernels by the vendor of the
processor: AMD's get AVX2 where AVX-512 is there. oneDNN chooses by instruction set. Same precision,
same digits up to the order of a sum (docs/log.md has the times).
"""

import torch


class OneDnnLinear(torch.nn.Linear):
    """A linear layer whose float32 product on a CPU is oneDNN's in inference mode.

    Elsewhere, training included, torch's own.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The product with the weights, plus the bias."""
        if (
            torch.is_inference_mode_enabled()
            and input.dtype == self.weight.dtype == torch.float32
            and input.device.type == "cpu"
        ):
            # What torch.compile emits; it has no gradient.
            return torch.ops.mkldnn._linear_pointwise(
                input, self.weight, B=self.bias, attr="none", scalars=[], algorithm=""
            )
        return super().forward(input)


def use_onednn(model: torch.nn.Module) -> None:
    """Turn a model's linear layers into `OneDnnLinear`.

    Nothing is done where this build of torch has no oneDNN.
    """
    if not torch.backends.mkldnn.is_available():
        return
    for module in model.modules():
        if type(module) is torch.nn.Linear:  # a subclass has a product of its own
            module.__class__ = OneDnnLinear
