"""The command line from outside: help, refusals in one line, quiet ends, quick starts."""

from __future__ import annotations

import inspect
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamrnn import Model, __version__
from streamrnn.cli.tether import OwnDaemon
from streamrnn.client import Control, Publisher

COMMANDS = ("demo", "serve", "publish", "watch", "score", "simulate", "import", "info", "bench", "ctl")

BED = "time_s,hr,spo2\n" + "".join(f"{i},{80 + i % 3},{97 - i % 2}\n" for i in range(40))


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "streamrnn", *map(str, arguments)]


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120, check=False, **options)


@pytest.fixture
def bed(tmp_path: Path) -> Path:
    path = tmp_path / "bed1.csv"
    path.write_text(BED)
    return path


def test_help_names_every_command():
    result = run("--help")
    assert result.returncode == 0
    assert all(name in result.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(name):
    result = run(name, "--help", env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"})
    assert result.returncode == 0
    assert "Example" in result.stdout
    assert f"streamrnn {name}" in result.stdout


def test_version():
    assert run("--version").stdout == f"streamrnn {__version__}\n"


def test_help_breaks_lines_where_the_terminal_ends_and_not_where_the_source_does():
    wide = run("serve", "--help", env={**os.environ, "COLUMNS": "400", "NO_COLOR": "1"}).stdout
    (options,) = [line for line in wide.splitlines() if "Options can also be set" in line]
    assert options.strip().endswith("once all that came in is answered.")


@pytest.mark.parametrize("arguments", [["--help"], ["publish", "--help"], ["watch", "--help"], ["demo", "--help"]])
def test_help_needs_no_compiler(arguments):
    code = (
        "import sys; from streamrnn.cli import run; run(sys.argv[1:]); "
        "sys.exit(', '.join(m for m in ('numba', 'numpy', 'zmq') if m in sys.modules) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stderr == ""
    assert result.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["frob"], 2, "frob"),
        (["score"], 2, "Missing argument"),
        (["score", "--quux", "bed1.csv"], 2, "--quux (see streamrnn score --help)"),
        (["bench", "--threads"], 2, "--threads' requires an argument. (see streamrnn bench --help)"),
        (["ctl", "stream", "--timeout"], 2, "(see streamrnn ctl stream --help)"),
        (["score", "nowhere.csv"], 2, "nowhere.csv: No such file"),
        (["score", "."], 2, "Is a directory"),
        (["score", "bed1.csv", "--columns", "hr,pulse"], 2, "no column 'pulse': it has time_s, hr, spo2"),
        (["score", "bed1.csv", "--columns", ","], 2, "--columns names no column"),
        (["score", "bed1.csv", "--where", "hr"], 2, "--where 'hr'"),
        (["score", "bed1.csv", "--time-unit", "years"], 2, "--time-unit 'years'"),
        (["score", "bed1.csv", "--model", "nowhere.safetensors"], 2, "no model file"),
        (["score", "bed1.csv", "--model", "bed1.csv"], 2, "bed1.csv"),
        (["score", "bed1.csv", "--model", "wide.safetensors"], 2, "takes 3 columns (x0, x1, x2)"),
        (["score", "bed1.csv", "-o", "no/such/folder.csv"], 2, "folder.csv"),
        (["score", "bad.csv"], 2, "bad.csv:3: column 'hr': 'fast' is not a number"),
        (["publish", "bed1.csv", "--rate", "fast"], 2, "none of 1x"),
        (["publish", "bed1.csv", "--endpoint", "here"], 2, "endpoint 'here'"),
        (["publish", "bed1.csv", "--endpoint", "tcp://127.0.0.1:1", "--timeout", "0.2"], 1, "start a daemon"),
        (["publish", "bed1.csv", "--time", "none", "--endpoint", "tcp://127.0.0.1:1"], 2, "--time"),
        (["watch", "--endpoint", "tcp://127.0.0.1:1", "--timeout", "0.2"], 1, "127.0.0.1:1"),
        (["simulate", "circus"], 2, "ward or market"),
        (["simulate", "-o", "bed1.csv"], 2, "is there already"),
        (["simulate", "-o", "bed1.parquet"], 2, "must end in .csv"),
        (["score", "bed1.csv", "--encoding", "klingon"], 2, "--encoding 'klingon'"),
        (["score", "bed1.csv", "--encoding", "hex"], 2, "--encoding 'hex'"),
        (["score", "-", "-"], 2, "given twice"),
        (["score", "bed1.csv", "--time-unit", "s", "--time-format", "%d"], 2, "give one of them"),
        (["info", "nowhere.safetensors"], 2, "no model file"),
        (["info", "nowhere.safetensors", "--device"], 2, "no model file"),
        (["info"], 2, "give a MODEL to describe, or --device"),
        (["serve", "--device", "gpu"], 2, "device is 'gpu'; it must be 'cpu', 'cuda' or 'auto'"),
        (["serve", "--device", "cuda", "--threads", "2"], 2, "a GPU has its own: leave threads out"),
        (["serve", "--latency-budget", "soon"], 2, "latency_budget is 'soon'; it must be a time such as 500us"),
        (["demo", "--scene", "circus"], 2, "ward or market"),
        (["demo", "--feed", "nowhere.csv"], 2, "nowhere.csv: No such file"),
        (["demo", "--feed", "bed1.csv", "--beds", "3"], 2, "--beds would change a simulation"),
        (["demo", "--seconds", "0"], 2, "--seconds"),
        (["serve", "--capacity", "abc"], 2, "'--capacity': 'abc'"),
        (["score", "bed1.csv", "--capacity=many"], 2, "'--capacity': 'many'"),
        (["demo", "--model", "nowhere.safetensors"], 2, "no model file"),
    ],
)
def test_bad_input_is_one_line_and_no_traceback(tmp_path, bed, arguments, status, says):
    (tmp_path / "bad.csv").write_text("time_s,hr\n0,80\n1,fast\n")
    Model.random(n_in=3, hidden=4, n_out=1).save(tmp_path / "wide.safetensors")
    result = run(*arguments, cwd=tmp_path)
    assert says in result.stderr
    assert result.stderr.startswith("streamrnn")
    assert result.stderr.count("\n") == 1
    assert result.returncode == status
    assert result.stdout == ""


def test_info_shows_a_model_file(tmp_path):
    path = tmp_path / "vitals.safetensors"
    model = Model.random(cell="lstm", n_in=2, hidden=8, layers=2, head="forecast", features=["hr", "spo2"], seed=3)
    model.save(path)
    facts = json.loads(run("info", path, "--json").stdout)
    assert facts["fingerprint"] == model.fingerprint
    assert facts["layers"] == [{"cell": "lstm", "n_in": 2, "hidden": 8}, {"cell": "lstm", "n_in": 8, "hidden": 8}]
    assert facts["parameters"] == model.parameters
    assert facts["features"] == ["hr", "spo2"]
    assert facts["bytes_per_stream"]["state"] >= 4 * 4 * 8
    shown = run("info", path).stdout
    assert "lstm 2 -> 8" in shown
    assert model.fingerprint in shown
    assert "adaptive" in run("info", "adaptive").stdout


def test_info_shows_what_a_gpu_needs_and_what_there_is_of_it():
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "NUMBA_ENABLE_CUDASIM": "0"}
    facts = json.loads(run("info", "--device", "--json", env=env).stdout)
    assert set(facts["packages"]) == {"numba-cuda", "nvidia-nvvm", "nvidia-nvjitlink"}
    assert facts["gpus"] == []
    assert "looked for" in facts["refusal"]
    assert "room" not in facts
    room = json.loads(run("info", "adaptive", "--device", "--json", env=env).stdout)["room"]
    assert room["streams"] == []
    assert room["bytes_per_stream"] > 20_000
    shown = run("info", "adaptive", "--device", env={**env, "COLUMNS": "300"})
    assert shown.returncode == 0
    assert facts["refusal"].partition("; looked for")[0] in shown.stdout, "brackets are no markup"
    for name in ("numba-cuda", "libcuda.so.1", "driver", "GPUs", "usable", "adaptive"):
        assert name in shown.stdout


def test_brackets_in_names_are_no_markup(tmp_path):
    path = tmp_path / "m.safetensors"
    Model.random("gru", n_in=2, hidden=4, n_out=2, features=["hr[bpm]", "t:smile:"]).save(path)
    shown = run("info", path, env={**os.environ, "COLUMNS": "200"}).stdout
    assert "hr[bpm]" in shown
    assert "t:smile:" in shown


def test_a_closed_pipe_is_no_error(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("x\n" + "1\n" * 200_000)
    with subprocess.Popen(command("score", path), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"x,y_x,score,flag,cause\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait(60)


def test_ctrl_c_ends_a_publisher_in_one_line(tmp_path):
    import zmq

    context = zmq.Context()
    listener = context.socket(zmq.SUB)
    listener.subscribe(b"in/")
    port = listener.bind_to_random_port("tcp://127.0.0.1")
    path = tmp_path / "slow.csv"
    path.write_text("time_s,x\n0,1\n3600,2\n")
    arguments = command("publish", path, "--endpoint", f"tcp://127.0.0.1:{port}")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert listener.poll(30_000)  # the first sample has come, the second is an hour away
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    context.destroy(linger=0)
    assert (process.returncode, out, err) == (130, b"", b"streamrnn: interrupted: 1 sample sent\n")


def test_published_samples_are_what_the_file_holds(bed):
    import zmq

    from streamrnn.wire.messages import DEFAULT_LIMITS, decode_ingest

    context = zmq.Context()
    listener = context.socket(zmq.SUB)
    listener.subscribe(b"in/")
    port = listener.bind_to_random_port("tcp://127.0.0.1")
    arguments = ["--rate", "max", "--stream", "ward/bed1", "--columns", "spo2,hr"]
    with subprocess.Popen(command("publish", bed, "--endpoint", f"tcp://127.0.0.1:{port}", *arguments)) as process:
        samples = []
        while len(samples) < 40:
            assert listener.poll(30_000)
            samples.append(decode_ingest(listener.recv_multipart(), DEFAULT_LIMITS, time.time_ns()))
        assert process.wait(30) == 0
    context.destroy(linger=0)
    assert [list(sample.x) for sample in samples] == [[97 - i % 2, 80 + i % 3] for i in range(40)]
    assert [sample.t for sample in samples] == [i * 10**9 for i in range(40)]
    assert [sample.seq for sample in samples] == list(range(40))
    assert {sample.stream for sample in samples} == {b"ward/bed1"}


@pytest.fixture(scope="module")
def daemon():
    with OwnDaemon(["--features", "x"]) as own:
        own.wait_ready(240)
        yield own


@contextmanager
def watching(daemon: OwnDaemon, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """`streamrnn watch`, once its subscriptions have reached the daemon."""
    with Control(daemon.control) as control:
        before = control.info()["subscribers"]
        line = command("watch", "--endpoint", daemon.outputs, "--control", daemon.control, *arguments)
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            deadline = time.monotonic() + 60.0
            while control.info()["subscribers"] == before:
                assert process.poll() is None
                assert time.monotonic() < deadline
            yield process
            process.kill()


def test_watch_tells_programs_everything(daemon):
    with watching(daemon, "ward/", "--json", "-n", 4) as process, Publisher(daemon.ingest) as publisher:
        publisher.send("other/bed9", [1.0], t=1)
        publisher.send("ward/bed1", [5.0], t=2)
        publisher.send_block(["ward/bed1", "other/bed9", "ward/bed1"], [[6.0], [7.0], [math.nan]], t=[3, 3, 4])
        out, err = process.communicate(timeout=60)
    messages = [json.loads(line) for line in out.splitlines()]
    assert [message["type"] for message in messages] == ["event", "out", "out", "out"]
    assert {message["stream"] for message in messages} == {"ward/bed1"}
    assert messages[0]["kind"] == "created"
    assert [message["t"] for message in messages[1:]] == [2, 3, 4]
    assert messages[1]["y"] == [5.0]
    assert (process.returncode, err) == (0, "")


def test_watch_tells_people_of_flags(daemon):
    with watching(daemon, "--flags", "-n", 2) as process, Publisher(daemon.ingest) as publisher:
        for i in range(400):
            publisher.send("ward/bed2", [1000.0 if 100 <= i < 120 else 80.0 + i % 3], t=i * 10**9)
        out, err = process.communicate(timeout=60)
    raised, cleared = out.splitlines()
    assert "ward/bed2 ▲ raised x:" in raised
    assert "ward/bed2 ▽ cleared" in cleared
    assert (process.returncode, err) == (0, "")


def test_the_help_of_serve_tells_the_settings_own_defaults():
    from streamrnn.cli.serve import serve
    from streamrnn.daemon import Settings

    told = {
        name: default.show_default
        for name, parameter in inspect.signature(serve, eval_str=True).parameters.items()
        if (default := parameter.annotation.__metadata__[0]).show_default is not True
    }
    settings = Settings.model_fields
    for name, field in settings.items():
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        if name in ("model", "n_in", "features"):
            continue
        assert told[name] == (
            "never" if default is None else f"{default:g}" if isinstance(default, float) else str(default)
        )
    shown = run("serve", "--help", env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}).stdout
    assert "[default: (10000)]" in shown
    assert "[default: (never)]" in shown
