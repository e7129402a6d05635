"""What keeps the bot from a server that speaks HTTP, and the lines for cdc.yml; the same for registry and Connect."""

from __future__ import annotations

from bot.doctor.check import Check, failed
from bot.ports import PortError

# What is in the error's text -> what to write. The first that matches counts; {part} is the section of cdc.yml.
_REMEDIES: tuple[tuple[str, str], ...] = (
    ("The secret file", "Put the secret into that file, readable by this user; it is read again at each use."),
    ("The environment variable", "Set the variable where this command and the bot run."),
    ("invalid path", "Write under `{part}: {{tls: ...}}` the path of a file that is there."),
    (
        "a client certificate",
        "Write `{part}: {{tls: {{certificate: ./client.pem, key: ./client.key}}}}` into cdc.yml.",
    ),
    (
        "certificate is for another host",
        "Write under `{part}: {{url: ...}}` the host name that the certificate is for.",
    ),
    ("certificate not trusted", "Write `{part}: {{tls: {{ca: ./ca.pem}}}}` into cdc.yml, with the CA that signed it."),
    ("holds no certificate", "Write under `{part}: {{tls: {{ca: ...}}}}` the path of a PEM file."),
    ("not in PEM form", "Write under `{part}: {{tls: ...}}` the paths of PEM files."),
    ("speaks plain HTTP", "Write `{part}: {{url: {plain}}}` into cdc.yml."),
    (
        "answered 401",
        'Write `{part}: {{auth: {{user: NAME, password: "${{{name}_PASSWORD}}"}}}}` into cdc.yml, or correct it.',
    ),
    ("answered 403", "Grant this user what `cdc doctor --permissions` lists."),
    (
        "is this the right address?",
        "Write under `{part}: {{url: ...}}` the address of the API; a page for people is another.",
    ),
    ("go to http", "Write under `{part}: {{url: ...}}` the address that it names."),
)
# What a port that speaks TLS does when it is asked in plain.
_HUNG_UP = ("closed the connection without an answer", "reset the connection")
_SECURED = "If the port speaks TLS: write `{part}: {{url: {secured}}}` into cdc.yml."
_ELSE = "Put the address that this machine reaches under `{part}: {{url: ...}}`, or let it through the network."


def unreached(part: str, url: str, error: PortError | str | None) -> Check:
    """Return the line on a server that did not answer as asked; `error` is the client's, it names the address."""
    text = str(error)
    hung_up = url.startswith("http://") and any(needle in text for needle in _HUNG_UP)
    remedy = next((remedy for needle, remedy in _REMEDIES if needle in text), _SECURED if hung_up else _ELSE)
    words = {
        "part": part,
        "name": part.upper(),
        "plain": url.replace("https://", "http://", 1),
        "secured": url.replace("http://", "https://", 1),
    }
    return failed(part, text, remedy.format(**words))
