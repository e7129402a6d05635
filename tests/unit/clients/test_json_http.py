"""`JsonHttp`: every way a server can fail to answer is one of four errors with the address in it."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from bot.clients.http import JsonHttp
from bot.ports import Denied, Missing, PortError, Rejected, Unreachable


@pytest.mark.parametrize(
    ("error", "words", "status", "body"),
    [
        (Denied, "credentials are missing or wrong", 401, {"message": "Unauthorized"}),
        (Denied, "may not do this: User:bot lacks READ", 403, {"message": "User:bot lacks READ"}),
        (Missing, "Subject 'x' not found", 404, {"error_code": 40401, "message": "Subject 'x' not found"}),
        (Missing, "answered 404", 404, ""),
        (
            Rejected,
            "409: a rebalance is in progress",
            409,
            {"error_code": 409, "message": "a rebalance is in progress"},
        ),
        (Rejected, "Invalid schema", 422, {"error_code": 42201, "message": "Invalid schema"}),
        (Rejected, "bad matcher format", 400, '"bad matcher format: x"'),
        (Rejected, "answered 429", 429, ""),
        (Unreachable, "answered 408", 408, ""),
        (Unreachable, "answered 500: boom", 500, {"message": "boom"}),
        (Unreachable, "answered 503", 503, "<html>bad gateway</html>"),
        (Unreachable, "HTML, not the API: is this the right address?", 200, "<!DOCTYPE html><p>Sign in"),
        (Unreachable, "HTML, not the API: is this the right address?", 404, "  <html>no such page"),
        (Unreachable, "wants a client certificate", 400, "<html><h1>400</h1>No required SSL certificate was sent"),
        (Unreachable, "text that is not JSON", 200, "ok"),
        (Unreachable, "text that is not JSON", 200, '{"cut": '),
        (Unreachable, "text that is not JSON", 200, b"\xff\xfe\x00"),
        (Unreachable, "text that is not JSON", 404, "404 page not found"),
        (Unreachable, "text that is not JSON", 200, "[" * 200_000),
    ],
)
def test_each_bad_answer_is_the_right_error_with_the_servers_words(server, error, words, status, body):
    """The person reads what was asked and what came back, never a stack trace."""
    server["GET /x"] = (status, body)

    with pytest.raises(PortError) as raised:
        JsonHttp(server.url).get("/x", 5)

    assert error is type(raised.value)
    assert f"GET {server.url}/x: " in str(raised.value)
    assert words in str(raised.value)


def test_a_good_answer_is_its_json_and_an_empty_one_is_none(server):
    """204 has no body; it is not an error."""
    server["GET /x"] = (200, {"a": [1]})
    server["POST /y"] = (204, "")

    assert {"a": [1]} == JsonHttp(server.url).get("/x", 5)
    assert None is JsonHttp(server.url).post("/y", 5)


def test_html_content_type_is_html_whatever_the_body(server):
    """A proxy's page that happens to be valid JSON is still not the API."""
    server.headers["Content-Type"] = "text/html; charset=utf-8"
    server["GET /x"] = (200, '"hello"')

    with pytest.raises(Unreachable, match="HTML"):
        JsonHttp(server.url).get("/x", 5)


def test_a_refused_connection_says_so_at_once():
    """The commonest outage has the shortest words."""
    with pytest.raises(Unreachable, match=r"GET http://127\.0\.0\.1:1/x: refused the connection"):
        JsonHttp("http://127.0.0.1:1").get("/x", 5)


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://127.0.0.1/", "http://[::bad", "http://a:b:c/"])
def test_an_unusable_address_is_an_error_not_a_crash(url):
    """A typo in a URL is told like any other trouble."""
    with pytest.raises(Unreachable):
        JsonHttp(url).get("/x", 1)


def test_an_unknown_host_is_named():
    """`.invalid` never resolves (RFC 2606)."""
    with pytest.raises(Unreachable, match="host name is not known"):
        JsonHttp("http://registry.invalid:8081").get("/x", 5)


def test_no_answer_before_the_deadline(server):
    """A server that accepts and then thinks is given up."""
    server.delay_s = 1.0
    server["GET /x"] = (200, {})

    with pytest.raises(Unreachable, match=r"no answer within 0\.1 s"):
        JsonHttp(server.url).get("/x", 0.1)


def test_the_deadline_covers_a_body_that_drips(server):
    """A byte every 20 ms never trips a socket time-out; the deadline ends it all the same."""
    server.drip_s = 0.02
    server["GET /x"] = (200, "[" + " " * 500 + "]")

    started = time.monotonic()
    with pytest.raises(Unreachable, match=r"did not end within 0\.2 s"):
        JsonHttp(server.url).get("/x", 0.2)

    assert time.monotonic() - started < 0.6


def test_a_redirect_is_not_followed(server):
    """A login page at another address is an answer to report; credentials do not travel there."""
    server.headers["Location"] = "https://user:secret@sso.example/login?next=token"
    server["GET /x"] = (302, "")

    with pytest.raises(
        Unreachable, match=r"302, go to https://sso\.example/login: is this the right address"
    ) as raised:
        JsonHttp(server.url).get("/x", 5)

    assert "secret" not in str(raised.value)
    assert 1 == len(server.asked)


def test_user_and_password_of_the_url_are_sent_and_never_shown(server):
    """The URL may carry credentials; the error must not."""
    with_secret = server.url.replace("http://", "http://bot:p%40ss@")
    server["GET /x"] = (500, "")

    with pytest.raises(Unreachable) as raised:
        JsonHttp(with_secret).get("/x", 5)

    assert "Basic Ym90OnBAc3M=" == server.asked[0][1]["Authorization"]
    assert "p@ss" not in str(raised.value)
    assert "p%40ss" not in str(raised.value)


def test_headers_are_asked_at_each_call(server):
    """A token that was rotated between two calls works at once."""
    tokens = iter(["one", "two"])
    server["GET /x"] = (200, {})
    http = JsonHttp(server.url, headers=lambda: {"Authorization": f"Bearer {next(tokens)}"})

    http.get("/x", 5)
    http.get("/x", 5)

    assert ["Bearer one", "Bearer two"] == [headers["Authorization"] for _, headers, _ in server.asked]


def test_a_path_prefix_is_kept(server):
    """Apicurio's Confluent API lives under /apis/ccompat/v7."""
    server["GET /apis/ccompat/v7/subjects"] = (200, ["a"])

    assert ["a"] == JsonHttp(server.url + "/apis/ccompat/v7/").get("/subjects", 5)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://registry.invalid:8081", "nonsense", "http://", "http://a:b:c/"]
)
def test_a_request_that_never_left_says_so(url):
    """Refused, unknown host, unusable address: nothing can have been done."""
    with pytest.raises(Unreachable) as raised:
        JsonHttp(url).post("/x", 5)

    assert raised.value.sent is False


@pytest.mark.parametrize("status", [302, 408, 500, 503])
def test_an_answer_that_is_no_answer_may_follow_a_request_that_was_carried_out(server, status):
    """A gateway's 503 may come after the system behind it has acted."""
    server["POST /x"] = (status, "")

    with pytest.raises(Unreachable) as raised:
        JsonHttp(server.url).post("/x", 5)

    assert raised.value.sent is True


def test_a_time_out_after_sending_is_a_request_that_was_sent(server):
    """The server thinks for longer than we wait."""
    server.delay_s = 0.5
    server["POST /x"] = (200, {})

    with pytest.raises(Unreachable, match="no answer within") as raised:
        JsonHttp(server.url).post("/x", 0.1)

    assert raised.value.sent is True


def test_a_connection_that_closes_without_an_answer_is_a_request_that_was_sent():
    """It was read, and nobody knows what was done with it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up() -> None:
            connection, _ = listening.accept()
            connection.recv(4096)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(Unreachable, match=r"closed the connection|reset the connection") as raised:
            JsonHttp(f"http://127.0.0.1:{listening.getsockname()[1]}").post("/x", 5)
        thread.join()

    assert raised.value.sent is True


def test_plain_http_on_a_tls_address_never_left(server):
    """The handshake comes before the request."""
    with pytest.raises(Unreachable, match="the port speaks plain HTTP") as raised:
        JsonHttp(server.url.replace("http://", "https://")).post("/x", 5)

    assert raised.value.sent is False
