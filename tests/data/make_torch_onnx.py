"""Make the .onnx files here that PyTorch's two exporters write: tiny networks, to test that their files are understood.

python tests/data/make_torch_onnx.py        needs torch, onnx and onnxscript; the files in the repository are of
                                            torch 2.13.0, onnx 1.23.2 and onnxscript 0.7.2
"""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import torch
from torch import nn

HERE = Path(__file__).parent


class Chain(nn.Module):
    """Recurrent layers with norms and dense layers behind them; `last` keeps only the newest output."""

    def __init__(self, rnn: nn.Module, *rest: nn.Module, last: bool = False) -> None:
        super().__init__()
        self.rnn, self.rest, self.last = rnn, nn.Sequential(*rest), last

    def forward(self, x):
        out, _ = self.rnn(x)
        return self.rest(out[:, -1] if self.last else out)


class Step(nn.Module):
    """One step whose states go in and come out, as exports for streaming are made."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.LSTM(3, 6, num_layers=2, batch_first=True), nn.Linear(6, 2)

    def forward(self, x, h, c):
        y, (h, c) = self.rnn(x, (h, c))
        return self.out(y), h, c


def networks():
    """(name, network, its states or None)."""
    torch.manual_seed(1)
    yield "lstm", Chain(nn.LSTM(3, 6, num_layers=2, batch_first=True), nn.Linear(6, 2)), None
    yield (
        "gru",
        Chain(nn.GRU(3, 5, batch_first=True), nn.LayerNorm(5), nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 2)),
        None,
    )
    yield (
        "rnn",
        Chain(nn.RNN(3, 5, nonlinearity="relu", batch_first=True), nn.Linear(5, 4), nn.Softmax(-1), last=True),
        None,
    )
    yield "step", Step(), (torch.zeros(2, 1, 6), torch.zeros(2, 1, 6))


def main() -> None:
    warnings.simplefilter("ignore")
    for name, model, states in networks():
        model.eval()
        x = torch.zeros(1, 1 if states else 7, 3)
        inputs = (x, *states) if states else (x,)
        names = ["x", "h", "c"][: len(inputs)]
        outputs = ["y", "h_new", "c_new"][: len(inputs)]
        path = HERE / f"torch-{name}.onnx"
        axes = None if states else {"x": {0: "batch", 1: "time"}}
        torch.onnx.export(model, inputs, path, input_names=names, output_names=outputs, dynamic_axes=axes, dynamo=False)
        path = HERE / f"torch-dynamo-{name}.onnx"
        shapes = None if states else {"x": {1: torch.export.Dim.AUTO}}
        program = torch.onnx.export(
            model, inputs, input_names=names, output_names=outputs, dynamic_shapes=shapes, dynamo=True, verbose=False
        )
        proto = program.model_proto
        for node in proto.graph.node:  # names of this machine's files
            del node.metadata_props[:]
        for value in [*proto.graph.value_info, *proto.graph.input, *proto.graph.output]:
            del value.metadata_props[:]
        onnx.save(proto, path)


if __name__ == "__main__":
    main()
