"""Settings: where they come from, which wins, and what a wrong one is told."""

import inspect
from pathlib import Path

import pytest

from streamrnn.cli.serve import serve
from streamrnn.daemon import Settings, load_settings
from streamrnn.errors import ConfigError

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    import os

    for name in list(os.environ):
        if name.startswith("STREAMRNN_"):
            monkeypatch.delenv(name)


def toml(tmp_path, text):
    path = tmp_path / "streamrnn.toml"
    path.write_text(text)
    return path


def test_flags_win_over_environment_over_file_over_defaults(tmp_path, monkeypatch):
    path = toml(tmp_path, "capacity = 1\nhidden = 2\nseed = 3\n")
    monkeypatch.setenv("STREAMRNN_CAPACITY", "10")
    monkeypatch.setenv("STREAMRNN_HIDDEN", "20")
    s = load_settings(path, capacity=100, seed=None)
    assert (s.capacity, s.hidden, s.seed, s.burst) == (100, 20, 3, 256)


def test_a_burst_has_a_share_for_each_thread_unless_it_was_set(tmp_path):
    assert load_settings(threads=3).rows_at_once == 3 * 256
    assert load_settings(threads=1024).rows_at_once == 65_536
    assert load_settings(threads=3, burst=300).rows_at_once == 300
    assert load_settings(toml(tmp_path, "burst = 256"), threads=3).rows_at_once == 256


def test_the_environment_may_name_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMRNN_CONFIG", str(toml(tmp_path, "capacity = 7")))
    assert load_settings().capacity == 7
    assert load_settings(toml(tmp_path, "capacity = 8")).capacity == 8


def test_defaults_are_loopback():
    s = load_settings()
    assert s.ingest == ("tcp://127.0.0.1:5590",)
    assert s.outputs == ("tcp://127.0.0.1:5591",)
    assert s.control == ("tcp://127.0.0.1:5592",)
    assert s.exposed() == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [("a,b", ("a", "b")), (" a , b ", ("a", "b")), (["a", "b"], ("a", "b")), ("a", ("a",)), ("", ())],
)
def test_lists_are_arrays_or_text_with_commas(given, kept):
    assert load_settings(features=given).features == kept


def test_lists_in_file_and_environment(tmp_path, monkeypatch):
    path = toml(tmp_path, 'features = ["hr", "spo2"]\ningest = ["@tcp://127.0.0.1:1", ">ipc://x"]\n')
    assert load_settings(path).features == ("hr", "spo2")
    assert [str(e) for e in load_settings(path).endpoints("ingest")] == ["@tcp://127.0.0.1:1", ">ipc://x"]
    monkeypatch.setenv("STREAMRNN_FEATURES", "a,b,c")
    assert load_settings(path).features == ("a", "b", "c")
    assert load_settings(path).width == 3


def test_an_endpoint_without_a_sign_is_bound():
    assert load_settings(ingest="tcp://127.0.0.1:9").endpoints("ingest")[0].bind
    assert not load_settings(ingest=">tcp://127.0.0.1:9").endpoints("ingest")[0].bind


@pytest.mark.parametrize(
    ("endpoint", "exposed"),
    [
        ("tcp://127.0.0.1:1", False),
        ("tcp://localhost:1", False),
        ("tcp://[::1]:1", False),
        ("ipc:///tmp/x", False),
        (">tcp://10.0.0.1:1", False),
        ("tcp://*:1", True),
        ("tcp://0.0.0.0:1", True),
        ("tcp://10.0.0.1:1", True),
        ("tcp://eth0:1", True),
        ("tcp://[::]:1", True),
    ],
)
def test_who_can_be_reached_from_elsewhere(endpoint, exposed):
    assert bool(load_settings(outputs=endpoint).exposed()) is exposed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"capacity": 0}, "capacity is 0; it must be greater than or equal to 1"),
        ({"capacity": "many"}, "capacity is 'many'; it must be a valid integer"),
        ({"idle_ttl": 0}, "idle_ttl is 0; it must be greater than 0"),
        ({"idle_ttl": float("nan")}, "idle_ttl is nan; it must be"),
        ({"max_message": 10}, "max_message is 10; it must be greater than or equal to 1024"),
        ({"log_format": "xml"}, "log_format is 'xml'; it must be 'auto', 'human' or 'json'"),
        ({"ingest": "127.0.0.1:5590"}, "endpoint '127.0.0.1:5590' is not tcp://HOST:PORT"),
        ({"ingest": "tcp://127.0.0.1:99999"}, "port 99999 is above 65535"),
        ({"ingest": ""}, "names no endpoint"),
        ({"features": "hr,hr"}, "names 'hr' twice"),
        ({"features": "hr,spo2", "n_in": 3}, "features names 2 channels and n_in is 3"),
        ({"model": "m.safetensors", "n_in": 3}, "n_in is for the adaptive model"),
        ({"model": "m.safetensors", "features": "hr"}, "features is for the adaptive model"),
        ({"model": "m.safetensors", "hidden": 64}, "hidden is for the adaptive model"),
        ({"model": "m.safetensors", "seed": 0}, "seed is for the adaptive model; the file 'm.safetensors' has its own"),
        (
            {"ingest": "tcp://127.0.0.1:7", "outputs": "@tcp://127.0.0.1:7"},
            "ingest and outputs are both tcp://127.0.0.1:7; choose another endpoint with --outputs",
        ),
        ({"control": "tcp://127.0.0.1:5591"}, "outputs and control are both tcp://127.0.0.1:5591"),
    ],
)
def test_a_wrong_value_is_one_line_with_value_and_limit(flags, message):
    with pytest.raises(ConfigError) as caught:
        load_settings(**flags)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_endpoints_that_are_free_ports_or_connected_may_be_alike():
    load_settings(ingest="tcp://127.0.0.1:*", outputs="tcp://127.0.0.1:*")
    load_settings(ingest=">tcp://127.0.0.1:7", outputs=">tcp://127.0.0.1:7")


def test_an_unknown_key_in_the_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown option 'capactiy' .*streamrnn\.toml.*did you mean 'capacity'"):
        load_settings(toml(tmp_path, "capactiy = 5"))
    with pytest.raises(ConfigError, match="unknown option 'server'"):
        load_settings(toml(tmp_path, "[server]\ncapacity = 5"))


def test_the_source_of_a_wrong_value_is_named(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"capacity is -1 \(.*streamrnn\.toml\)"):
        load_settings(toml(tmp_path, "capacity = -1"))
    monkeypatch.setenv("STREAMRNN_CAPACITY", "-2")
    with pytest.raises(ConfigError, match=r"capacity is '-2' \(STREAMRNN_CAPACITY\)"):
        load_settings()


@pytest.mark.parametrize("text", ["capacity = ", "= 5", "capacity = 1\ncapacity = 2", "\x00"])
def test_a_file_that_is_no_toml(tmp_path, text):
    with pytest.raises(ConfigError, match=r"streamrnn\.toml: ") as caught:
        load_settings(toml(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_file_in_another_encoding(tmp_path):
    path = tmp_path / "streamrnn.toml"
    path.write_bytes(b'model = "\xff\xfe"')
    with pytest.raises(ConfigError, match=r"streamrnn\.toml"):
        load_settings(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the settings file .*nothing.toml.*: No such file"):
        load_settings(tmp_path / "nothing.toml")


def test_every_setting_has_a_flag_and_a_line_in_the_documentation():
    flags = set(inspect.signature(serve).parameters) - {"config"}
    assert flags == set(Settings.model_fields)
    told = (ROOT / "docs" / "operations.md").read_text()
    assert [name for name in Settings.model_fields if f"`{name}`" not in told] == []


def test_the_documented_file_is_valid(tmp_path):
    told = (ROOT / "docs" / "operations.md").read_text()
    example = told.split("```toml\n")[1].split("```")[0]
    assert load_settings(toml(tmp_path, example)).capacity > 0


def test_the_wires_limits_follow():
    limits = load_settings(max_message=2048, max_block=10, max_ahead=1.5).limits
    assert (limits.max_message, limits.max_block, limits.max_ahead_ns) == (2048, 10, 1_500_000_000)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("500us", 5e-4),
        ("500µs", 5e-4),
        ("2ms", 2e-3),
        ("1s", 1.0),
        ("0.01", 0.01),
        (" .5 ms ", 5e-4),
        (0, 0.0),
        (0.25, 0.25),
    ],
)
def test_a_latency_budget_is_a_time_with_its_unit(given, seconds):
    assert load_settings(latency_budget=given).latency_budget == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("5 minutes", "latency_budget is '5 minutes'; it must be a time such as 500us, 2ms or 0.01s"),
        ("-1ms", "it must be a time such as"),
        ("2s", "latency_budget is '2s'; it must be less than or equal to 1"),
        (-0.1, "latency_budget is -0.1; it must be greater than or equal to 0"),
        ("nan", "it must be a time such as"),
    ],
)
def test_a_latency_budget_out_of_bounds(given, message):
    with pytest.raises(ConfigError) as caught:
        load_settings(latency_budget=given)
    assert message in str(caught.value)


def test_device_and_budget_in_a_file(tmp_path):
    s = load_settings(toml(tmp_path, 'device = "auto"\nlatency_budget = "500us"\n'))
    assert (s.device, s.latency_budget) == ("auto", pytest.approx(5e-4))
    assert load_settings(toml(tmp_path, "latency_budget = 0.002")).latency_budget == 0.002


def test_a_burst_on_a_gpu_fills_it_unless_it_was_set():
    assert load_settings().rows_on("cuda") == 8192
    assert load_settings(burst=100).rows_on("cuda") == 100
    assert load_settings().rows_on("cpu") == load_settings().rows_at_once == 256
