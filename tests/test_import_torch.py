"""PyTorch: modules, state dicts and files against torch itself; what is refused, and that no code in a file is run."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from networks import samples
from safetensors.numpy import save_file

from streamrnn import Engine, Model
from streamrnn.errors import SourceError

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra parity)")
nn = torch.nn

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

STEPS = 60


class Wrapped(nn.Module):
    """A recurrent module under a name of its own, with others behind it."""

    def __init__(self, rnn, *rest, last=False):
        super().__init__()
        self.body, self.rest, self.last = nn.ModuleDict({"rnn": rnn}), nn.Sequential(*rest), last

    def forward(self, x):
        out, _ = self.body["rnn"](x)
        return self.rest(out[:, -1] if self.last else out)


def own(model, x):
    return Engine(model, capacity=1).step_many(["s"] * len(x), x).y


def theirs(module, x):
    with torch.no_grad():
        out = module.eval()(torch.from_numpy(x)[None])
    return (out[0] if isinstance(out, tuple) else out).numpy()[0]


def check(module, model):
    x = samples(STEPS, 3, seed=1)
    assert np.abs(own(model, x) - theirs(module, x)).max() <= 1e-5
    assert model.spec.provenance["parity"]["max_difference"] <= 1e-5


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(7)


RECURRENT = {
    "rnn": lambda: nn.RNN(3, 5, batch_first=True),
    "rnn-relu": lambda: nn.RNN(3, 5, nonlinearity="relu", batch_first=True),
    "rnn-deep": lambda: nn.RNN(3, 5, num_layers=3, batch_first=True, dropout=0.5),
    "lstm": lambda: nn.LSTM(3, 20, batch_first=True),
    "lstm-no-bias": lambda: nn.LSTM(3, 5, bias=False, batch_first=True),
    "lstm-deep": lambda: nn.LSTM(3, 5, num_layers=2, batch_first=True),
    "lstm-projected": lambda: nn.LSTM(3, 9, num_layers=2, proj_size=4, batch_first=True),
    "lstm-projected-no-bias": lambda: nn.LSTM(3, 9, proj_size=1, bias=False, batch_first=True),
    "gru": lambda: nn.GRU(3, 20, batch_first=True),
    "gru-no-bias": lambda: nn.GRU(3, 5, num_layers=2, bias=False, batch_first=True),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_modules_and_their_state_dicts(name):
    module = RECURRENT[name]()
    model = Model.from_torch(module)
    check(module, model)
    assert "torch" in model.spec.provenance["parity"]["against"]
    again = Model.from_torch(module.state_dict(), nonlinearity="relu" if name == "rnn-relu" else None)
    assert again.fingerprint == model.fingerprint


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells(kind, bias):
    cell = getattr(nn, kind)(3, 6, bias=bias)
    model = Model.from_torch(cell)
    x = samples(STEPS, 3, seed=1)
    state, rows = None, []
    with torch.no_grad():
        for row in torch.from_numpy(x):
            state = cell(row[None], state)
            rows.append((state[0] if kind == "LSTMCell" else state).numpy()[0])
    assert np.abs(own(model, x) - np.array(rows)).max() <= 1e-5
    assert Model.from_torch(cell.state_dict()).fingerprint == model.fingerprint


def wrapped():
    return Wrapped(
        nn.GRU(3, 8, batch_first=True),
        nn.LayerNorm(8, eps=1e-3),
        nn.Dropout(0.5),
        nn.Linear(8, 6),
        nn.ReLU(),
        nn.Linear(6, 4),
        nn.Softmax(dim=-1),
    )


def test_a_wrapped_module_with_all_that_may_follow():
    module = wrapped()
    module.train()
    model = Model.from_torch(module, features=["a", "b", "c"])
    assert module.training
    check(module, model)
    assert model.spec.head == "classify"
    assert model.spec.features == ("a", "b", "c")
    assert [layer.kind for layer in model.spec.layers] == ["recurrent", "layer_norm", "dense"]


def test_a_module_that_gives_only_its_last_output_is_compared_on_beginnings():
    module = Wrapped(nn.LSTM(3, 8, batch_first=True), nn.Linear(8, 2), nn.Sigmoid(), last=True)
    model = Model.from_torch(module)
    assert model.spec.provenance["parity"]["max_difference"] <= 1e-5
    assert model.spec.readout == "none"
    x = samples(STEPS, 3, seed=1)
    for n in (1, 17, STEPS):
        with torch.no_grad():
            truth = module.eval()(torch.from_numpy(x[:n])[None]).numpy()[0]
        assert np.abs(own(model, x[:n])[-1] - truth).max() <= 1e-5


def test_double_precision_and_half_precision_become_float32():
    assert Model.from_torch(nn.LSTM(3, 4).double()).arrays["weight_hh_l0"].dtype == np.float32
    state = {k: v.half() for k, v in nn.LSTM(3, 4).state_dict().items()}
    assert Model.from_torch(state).spec.layers[0].cell == "lstm"


class Doubled(Wrapped):
    def forward(self, x):
        return 2 * super().forward(x)


def test_a_forward_that_does_more_than_its_layers_is_noticed():
    module = Doubled(nn.LSTM(3, 8, batch_first=True), nn.Linear(8, 2))
    with pytest.raises(SourceError, match="differs from the original"):
        Model.from_torch(module)
    model = Model.from_torch(module, tolerance=100.0)
    assert model.spec.provenance["parity"]["max_difference"] > 1e-2


class Rectified(nn.Module):
    """Its activation is a function, which no list of modules shows."""

    def __init__(self):
        super().__init__()
        self.rnn, self.a, self.b = nn.GRU(3, 8, batch_first=True), nn.Linear(8, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.b(torch.relu(self.a(self.rnn(x)[0])))


def test_a_function_between_layers_is_noticed_and_can_be_named():
    module = Rectified()
    with pytest.raises(SourceError, match="function between its layers.*--order"):
        Model.from_torch(module)
    check(module, Model.from_torch(module, order=["rnn", "a", "relu", "b"]))
    named = Model.from_torch(module.state_dict(), order=["rnn", "a", "relu", "b"])
    assert named.fingerprint == Model.from_torch(module, order=["rnn", "a", "relu", "b"]).fingerprint


class Narrowed(Wrapped):
    def forward(self, x):
        return super().forward(x)[..., :1]


def test_a_forward_of_another_shape_is_refused():
    with pytest.raises(SourceError, match=r"shape .*its forward\(\) does something else"):
        Model.from_torch(Narrowed(nn.LSTM(3, 8, batch_first=True), nn.Linear(8, 2)))


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "net.model."])
def test_files_with_prefixes(prefix, tmp_path):
    module = nn.Sequential(nn.LSTM(3, 8, num_layers=2), nn.LayerNorm(8), nn.Linear(8, 2))
    state = {prefix + name: value for name, value in module.state_dict().items()}
    expected = Model.from_torch(module.state_dict())
    torch.save(state, tmp_path / "m.pt")
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "checkpoint.pth")
    save_file({name: value.numpy() for name, value in state.items()}, tmp_path / "m.safetensors")
    for name in ("m.pt", "checkpoint.pth", "m.safetensors"):
        model = Model.from_torch(tmp_path / name)
        assert model.fingerprint == expected.fingerprint
        assert model.spec.provenance["source"] == name


def test_an_order_that_is_not_said_is_asked_for(tmp_path):
    state = {**nn.LSTM(8, 8).state_dict(), "b.weight": torch.ones(8, 8), "a.weight": torch.ones(8)}
    path = tmp_path / "m.safetensors"
    save_file({name: value.numpy() for name, value in state.items()}, path)
    with pytest.raises(SourceError, match="more than one fits.*--order.*network"):
        Model.from_torch(path)
    model = Model.from_torch(path, order=["b", "tanh", "network", "a"])
    assert [str(layer.kind) for layer in model.spec.layers] == ["dense", "recurrent", "layer_norm"]
    assert model.spec.layers[0].activation == "tanh"
    with pytest.raises(SourceError, match="order names 'b', 'network'"):
        Model.from_torch(path, order=["b", "network"])


def test_parts_that_cannot_be_one_chain_are_named():
    state = {**nn.LSTM(3, 8).state_dict(), "out.weight": torch.ones(2, 7)}
    with pytest.raises(SourceError, match=r"do not fit.*out \(7 to 2\)"):
        Model.from_torch(state)


class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.rnn = nn.Conv1d(3, 3, 3), nn.LSTM(3, 4)


class Loose(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.gain = nn.LSTM(3, 4), nn.Parameter(torch.ones(4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.LSTM(3, 4, bidirectional=True), "bidirectional.*future"),
        (lambda: nn.LSTM(3, 4, bidirectional=True).state_dict(), "'weight_ih_l0_reverse'.*bidirectional"),
        (lambda: Wrapped(nn.LSTM(4, 4), nn.MultiheadAttention(4, 1)), "MultiheadAttention.*whole sequence"),
        (Conv, "conv is a Conv1d.*window"),
        (Loose, "'gain'"),
        (lambda: nn.Linear(3, 4), "no recurrent layer"),
        (lambda: Wrapped(nn.LSTM(3, 4), nn.BatchNorm1d(4)).state_dict(), "batch normalisation"),
        (lambda: Wrapped(nn.LSTM(3, 4), nn.Softmax(dim=1)), "dimension 1"),
        (lambda: {"weight_ih_l0": torch.ones(4, 3)}, "lacks weight_hh"),
        (lambda: {**nn.LSTM(3, 4).state_dict(), "extra": torch.ones(3)}, "tensor 'extra' does not belong"),
        (
            lambda: {
                **{f"module.a.{k}": v for k, v in nn.GRU(3, 4).state_dict().items()},
                "module.extra": torch.ones(3),
            },
            "tensors 'module.extra' belong to no layer",
        ),
        (lambda: {**nn.LSTM(3, 4).state_dict(), "fc.odd": torch.ones(3)}, "'fc.odd'"),
        (lambda: {k: v.int() for k, v in nn.LSTM(3, 4).state_dict().items()}, "int32"),
        (lambda: {"weight_ih_l0": torch.ones(8, 3), "weight_hh_l0": torch.ones(8, 4)}, "no RNN, GRU or LSTM"),
        (lambda: {k: v * np.inf for k, v in nn.LSTM(3, 4).state_dict().items()}, "holds -?inf"),
        (lambda: {"epoch": 3, **nn.LSTM(3, 4).state_dict()}, "'epoch' holds a value of type int"),
        (lambda: 7, "of type int is no torch.nn.Module"),
    ],
)
def test_what_cannot_be_brought_over_is_named(make, message):
    with pytest.raises(SourceError, match=message):
        Model.from_torch(make())


class Harmful:
    """A pickle of this would run a command when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_code_in_a_file_is_never_run(tmp_path):
    trace = tmp_path / "ran"
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Harmful(trace)))
    torch.save(Harmful(trace), tmp_path / "zipped.pt")
    torch.save(nn.LSTM(3, 4), tmp_path / "module.pt")
    for name, asked in (("plain.pt", ""), ("zipped.pt", r" \(\w+\.system\)"), ("module.pt", r" \(torch\S+\.LSTM\)")):
        words = rf"besides tensors{asked}, which are never loaded because they can run code: save .*state_dict\(\)"
        with pytest.raises(SourceError, match=words) as said:
            Model.from_torch(tmp_path / name)
        assert str(said.value).isprintable()
        assert "weights_only" not in str(said.value), "PyTorch's advice is to run it"
    assert not trace.exists()


def test_a_number_that_no_model_holds_is_named_as_in_the_source(tmp_path):
    state = Wrapped(nn.GRU(3, 4), nn.Linear(4, 2)).state_dict()
    state["rest.0.weight"][1, 2] = torch.nan
    torch.save(state, tmp_path / "nan.pt")
    with pytest.raises(SourceError, match=r"tensor 'rest\.0\.weight' of shape \(2, 4\) holds nan at \[1, 2\]; every"):
        Model.from_torch(tmp_path / "nan.pt")
    state["rest.0.weight"] = torch.full((2, 4), 1e300, dtype=torch.float64)
    with pytest.raises(SourceError, match=r"'rest\.0\.weight' .* holds 1e\+300 at \[0, 0\]"):
        Model.from_torch(state)


def test_a_model_of_our_own_is_no_source(tmp_path):
    Model.random("gru", n_in=3, hidden=4).save(tmp_path / "m.safetensors")
    with pytest.raises(SourceError, match="m.safetensors is a model of streamrnn already: use it as it is"):
        Model.from_torch(tmp_path / "m.safetensors")


@pytest.mark.parametrize("data", [b"", b"PK\3\4 not a zip", b"\x80\x02}q\x00."])
def test_damaged_files_are_refused(data, tmp_path):
    for name in ("m.pt", "m.safetensors"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SourceError, match=r"damaged|not|no recurrent") as said:
            Model.from_torch(tmp_path / name)
        assert str(said.value).isprintable()


def test_without_torch_a_state_dict_is_read_and_the_comparison_left_out(monkeypatch, tmp_path):
    save_file({k: v.numpy() for k, v in nn.GRU(3, 4).state_dict().items()}, tmp_path / "m.safetensors")
    monkeypatch.setattr("streamrnn.model.importers.torch.installed", lambda module: False)
    model = Model.from_torch(tmp_path / "m.safetensors")
    assert model.spec.provenance["parity"] == "not compared: torch is not installed"
