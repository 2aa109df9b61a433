"""Files from an address that a stranger gave: how much is read, and where it may lead."""

import io
import logging
import socket
from dataclasses import replace

import pytest

from entry_files import Host
from nlbflow.archive import sessions
from nlbflow.archive.fetch import fetch_from_url
from nlbflow.archive.pins import Pin
from nlbflow.errors import NlbflowError
from nlbflow.running.job import Job

CONTENT = b"rates" * 200_000


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    (tmp_path / "served").mkdir()
    (tmp_path / "served/rates.h5").write_bytes(CONTENT)
    host = Host(tmp_path / "served")
    yield host
    host.close()


def pin_of(host: Host, name: str = "rates.h5") -> tuple[Pin, str]:
    file = host.file("rates.h5")
    url = file["url"].replace("rates.h5", name)
    return Pin("entries", "", "", "rates", "good_val_0.h5", file["bytes"], file["sha256"]), url


def test_a_file_comes_by_a_redirect_within_its_host(host, tmp_path):
    host.moved["/download?id=3"] = "/rates.h5"
    pin, url = pin_of(host, "download?id=3")
    fetch_from_url(pin, tmp_path / "data/x.h5", url, print)
    assert (tmp_path / "data/x.h5").read_bytes() == CONTENT


def test_no_more_is_read_than_the_pinned_bytes(host, tmp_path):
    pin, url = pin_of(host)
    with pytest.raises(NlbflowError, match=r"has more than the 100,000 bytes of good_val_0\.h5"):
        fetch_from_url(replace(pin, bytes=100_000), tmp_path / "data/x.h5", url, print)
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


def test_a_host_leads_to_no_other_inside_this_network(host, tmp_path):
    host.moved["/moved.h5"] = f"http://localhost:{host.port}/rates.h5"
    pin, url = pin_of(host, "moved.h5")
    with pytest.raises(NlbflowError, match="redirects to another host, http://localhost"):
        fetch_from_url(pin, tmp_path / "data/x.h5", url, print)
    assert host.asked == ["/moved.h5"]


@pytest.mark.parametrize(
    ("target", "address", "allowed"),
    [
        ("https://other.example/x", "93.184.216.34", True),
        ("http://other.example/x", "93.184.216.34", False),
        ("https://other.example/x", "169.254.169.254", False),
        ("https://other.example/x", "10.0.0.7", False),
        ("https://other.example/x", "::1", False),
        ("https://[fe80::1]/x", "fe80::1%eth0", False),
        ("https://%31%30.0.0.7/x", "", False),
        ("/x", "10.0.0.7", True),
    ],
)
def test_which_redirects_are_followed(monkeypatch, target, address, allowed):
    if address:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [(0, 0, 0, "", (address, 0))])
    answer = sessions.requests.Response()
    answer.status_code, answer.url, answer.headers["location"] = 302, "https://lab.example/rates.h5", target
    if allowed:
        assert sessions.Wary(1.0).get_redirect_target(answer) == target
    else:
        with pytest.raises(NlbflowError, match="redirects to another host"):
            sessions.Wary(1.0).get_redirect_target(answer)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "%31%32%37.0.0.1", "127.1", "2130706433", "[::1]", "[::ffff:10.0.0.1]", "169.254.169.254",
             "a@10.0.0.7", "localhost", "0.0.0.0"],
)  # fmt: skip
def test_a_strangers_address_leads_to_no_host_inside_this_network(tmp_path, host):
    pin = Pin("entries", "", "", "rates", "good_val_0.h5", 1000, "0" * 64)
    with pytest.raises(NlbflowError, match=r"in this machine's own network.*entry_hosts if the board is yours"):
        fetch_from_url(pin, tmp_path / "x.h5", f"http://{host}:9/rates.h5", print, inside=["lab.example"])


def test_a_host_inside_is_asked_where_the_config_names_it(host, tmp_path):
    pin, url = pin_of(host)
    fetch_from_url(pin, tmp_path / "data/x.h5", url, print, inside=["127.0.0.1"])
    assert (tmp_path / "data/x.h5").read_bytes() == CONTENT


def test_a_host_that_is_dead_is_told_at_each_attempt(tmp_path, caplog):
    pin, said = Pin("entries", "", "", "rates", "good_val_0.h5", 1000, "0" * 64), []
    with pytest.raises(NlbflowError, match=r"did not deliver good_val_0\.h5 \(2 attempts failed"):
        fetch_from_url(pin, tmp_path / "x.h5", "http://127.0.0.1:9/x.h5", print, retries=1, tell=said.append)
    assert said == ["good_val_0.h5: no connection, NewConnectionError; attempt 2 of 2 in 1 s"]
    # on the screen of the run, not only in the log that nobody has open
    screen = io.StringIO()
    with caplog.at_level(logging.INFO, "nlbflow"):
        Job({}, 0.0, screen).say(said[0])
    assert screen.getvalue() == f"nlbflow: {said[0]}\n" and caplog.messages == said
    # a name that no resolver takes
    with pytest.raises(NlbflowError, match=r"good_val_0\.h5"):
        fetch_from_url(pin, tmp_path / "x.h5", f"http://{'a' * 70}.example/x", print, retries=0, inside=[])


def test_a_redirect_without_end_is_told(host, tmp_path):
    host.moved["/a.h5"], host.moved["/b.h5"] = "/b.h5", "/a.h5"
    pin, url = pin_of(host, "a.h5")
    with pytest.raises(NlbflowError, match="redirects"):
        fetch_from_url(pin, tmp_path / "data/x.h5", url, print)
    assert len(host.asked) <= 7


def test_a_file_of_the_users_folder_is_taken_first(host, tmp_path):
    pin, url = pin_of(host, "rates.h5?download=1")
    fetch_from_url(pin, tmp_path / "data/x.h5", url, print, folder=str(tmp_path / "served"))
    assert (tmp_path / "data/x.h5").is_symlink() and host.asked == []
