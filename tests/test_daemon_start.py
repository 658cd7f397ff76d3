"""The start of a daemon: what can be wrong is one line, and a program may run a server itself."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
import zmq
from daemon_process import DaemonProcess, eventually

from streamrnn.client import Control, Publisher, Subscriber
from streamrnn.daemon import Server, load_settings
from streamrnn.daemon.logs import make_log
from streamrnn.errors import ConfigError, Timeout
from streamrnn.transport import paths


def run_serve(*flags, env=None):
    return subprocess.run(
        [sys.executable, "-m", "streamrnn", "serve", "--log-format=json", *flags],
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, **(env or {})},
    )


def test_a_port_in_use_is_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_serve(
            f"--ingest=tcp://127.0.0.1:{port}", f"--outputs=ipc://{tmp_path}/o", f"--control=ipc://{tmp_path}/c"
        )
    assert done.returncode == 2
    assert done.stderr == (
        f"streamrnn: cannot bind ingest to tcp://127.0.0.1:{port}: another process uses it; "
        "stop that one, or choose another endpoint with --ingest\n"
    )


def test_a_unix_socket_in_use_is_not_taken_away(tmp_path):
    with DaemonProcess("--n-in=1") as process:
        done = run_serve(f"--ingest={process.ingest}", f"--outputs=ipc://{tmp_path}/o", f"--control=ipc://{tmp_path}/c")
        assert done.returncode == 2
        assert "another process uses it" in done.stderr
        process.ask("ping")


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["nothing.safetensors"], 2, "there is no model file 'nothing.safetensors'"),
        (["--capacity=0"], 2, "capacity is 0; it must be greater than or equal to 1"),
        (["--capacity=x"], 2, "--capacity"),
        (["--config=nothing.toml"], 2, "cannot read the settings file 'nothing.toml'"),
        (["--n-in=64", "--capacity=2000000000"], 2, "streams of 64 channels do not fit into memory; lower capacity"),
        (["--ingest=tcp://192.0.2.1:5590"], 2, "no interface of this machine has that address"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path, flags, status, message):
    ends = [f"--{role}=ipc://{tmp_path}/{role}" for role in ("ingest", "outputs", "control")]
    done = run_serve(*ends, *flags)
    assert done.returncode == status
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_endpoint_for_other_machines_is_warned_of():
    process = DaemonProcess("--n-in=1")
    process.outputs = "tcp://0.0.0.0:*"
    with process:
        warning = process.lines("exposed")[0]
    assert warning["level"] == "warning"
    assert "nothing is encrypted" in warning["hint"]


def test_a_signal_before_ready_ends_it(tmp_path):
    with DaemonProcess("--n-in=1", wait=False, env={"NUMBA_CACHE_DIR": str(tmp_path)}) as process:
        eventually((process.folder / "control").exists, 60, "binding")
        process.signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.lines("stopped")[0]["ready"] is False


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    with DaemonProcess("--n-in=1", env={"NUMBA_CACHE_DIR": str(blocked)}) as process:
        assert process.ask("ping")["now"] > 0
        warnings = [line for line in process.log if isinstance(line, dict) and line["level"] == "warning"]
        assert [w["event"] for w in warnings] == ["no_cache"]
        assert "NUMBA_CACHE_DIR" in warnings[0]["hint"]
        assert all(isinstance(line, dict) for line in process.log)


# On a GPU, of which there is none to be seen

NO_GPU = {"CUDA_VISIBLE_DEVICES": "", "NUMBA_ENABLE_CUDASIM": "0"}


def test_a_gpu_that_cannot_be_had_is_one_line(tmp_path):
    ends = [f"--{role}=ipc://{tmp_path}/{role}" for role in ("ingest", "outputs", "control")]
    done = run_serve(*ends, "--device=cuda", "--n-in=1", env=NO_GPU)
    assert done.returncode == 2
    assert done.stderr.startswith("streamrnn: device is 'cuda', but ")
    for sought in (
        "numba-cuda (",
        "libcuda.so.1 (",
        "a driver for CUDA 13.0 or newer (",
        "a GPU of compute capability",
    ):
        assert sought in done.stderr
    assert done.stderr.count("\n") == 1


def test_auto_takes_the_cpu_where_there_is_no_gpu_and_says_so_once():
    with DaemonProcess("--n-in=1", "--device=auto", env=NO_GPU) as process:
        (line,) = process.lines("no_gpu")
        assert line["level"] == "info"
        assert "looked for numba-cuda (" in line["reason"]
        assert process.lines("ready")[0]["device"] == "cpu"
        assert process.ask("info")["device"] == "cpu"
    with DaemonProcess("--n-in=1", env=NO_GPU) as process:
        assert process.lines("no_gpu") == []
        assert process.lines("ready")[0]["device"] == "cpu"


# In a thread


def test_a_server_runs_in_a_thread(tmp_path):
    where = {role: f"ipc://{tmp_path}/{role}" for role in ("ingest", "outputs", "control")}
    server = Server(load_settings(**where, n_in=1, log_level="error"))
    status = []
    thread = threading.Thread(target=lambda: status.append(server.run()))
    thread.start()
    assert server.ready.wait(180)
    with Control(where["control"]) as control:
        assert control.info()["model"]["n_in"] == 1
    server.stop()
    thread.join(10)
    assert status == [0]


def test_a_server_in_a_thread_raises_what_is_wrong(tmp_path):
    with pytest.raises(ConfigError, match="no model file"):
        where = {role: f"ipc://{tmp_path}/{role}" for role in ("ingest", "outputs", "control")}
        Server(load_settings(model="nothing", **where)).run()


def test_a_server_in_a_program_may_use_inproc():
    with zmq.Context() as context:
        where = {role: f"inproc://{role}" for role in ("ingest", "outputs", "control")}
        server = Server(load_settings(**where, n_in=1, log_level="error"), context=context)
        thread = threading.Thread(target=server.run)
        thread.start()
        assert server.ready.wait(180)
        with (
            Subscriber(where["outputs"], ["out/"], timeout=10, context=context) as outputs,
            Publisher(where["ingest"], context=context) as publisher,
        ):
            # A connection within the process tells nobody that it stands, so send until an answer comes.
            def answered():
                publisher.send("bed1", [1.0])
                try:
                    return outputs.recv(0.02)
                except Timeout:
                    return None

            assert eventually(answered).stream == "bed1"
        server.stop()
        thread.join(10)
        assert not thread.is_alive()


# The data path


@pytest.mark.parametrize("hidden", [True, False])
def test_where_libzmq_is_not_found_one_line_says_so(tmp_path, monkeypatch, hidden):
    if hidden:
        monkeypatch.setattr(paths, "find_library", lambda: "it is hidden")
    where = {role: f"ipc://{tmp_path}/{role}" for role in ("ingest", "outputs", "control")}
    out = io.StringIO()
    server = Server(load_settings(**where, n_in=1, threads=2, burst=64), make_log("json", "info", out))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.ready.wait(180)
    with (
        Subscriber(where["outputs"], ["out/"], timeout=10) as outputs,
        Publisher(where["ingest"]) as publisher,
    ):
        outputs.wait()
        publisher.send("bed1", [1.0])
        assert outputs.recv().stream == "bed1"
    server.stop()
    thread.join(10)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["reason"] for line in lines if line["event"] == "slow_path"] == (["it is hidden"] if hidden else [])
    assert [line["burst"] for line in lines if line["event"] == "threads_idle"] == [64]
    assert [line["path"] for line in lines if line["event"] == "ready"] == ["pyzmq" if hidden else "compiled"]


DURING_IMPORTS = """
import os, signal, sys
from streamrnn.cli import run

class Sends:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), int(sys.argv[2]))

sys.meta_path.insert(0, Sends())
sys.exit(run(["serve"]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("module", ["streamrnn.daemon", "zmq", "numba", "numpy"])
def test_a_signal_while_the_daemon_is_imported_ends_it_at_once(module, number):
    done = subprocess.run(
        [sys.executable, "-c", DURING_IMPORTS, module, str(int(number))],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
