"""Taking data out of error text: rows, keys and credentials that drivers write into their messages.

A trace goes to a channel, a journal and a postmortem; a customer's row must not. Identifiers (columns, tables,
subjects, classes) stay: they are what the on-call needs. It rather takes too much than too little.
A registry's refusal quotes schemas, which hold no row: it stays readable, but for the old schema's text, which is long.
"""

from __future__ import annotations

import re

CAUSE_CHARACTERS = 500

_END_OF_MESSAGE = r"(?=\n\s*at |\n\s*Caused by|\n\s*Suppressed|\n\s*\.\.\. \d|\Z)"

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # Confluent's refusal: `{oldSchema: '{"type":"record",...}'}`.
    (re.compile(r"(\boldSchema:\s*(?P<quote>['\"])).*?(?P=quote)(?=\s*\})", re.S), r"\1...\g<quote>"),
    # PostgreSQL: `Detail: Failing row contains (1, Ana, ana@example.com).`; a value may hold a new line too.
    (re.compile(r"(Failing row contains \().*?" + _END_OF_MESSAGE, re.S), r"\1[redacted])"),
    (
        re.compile(
            r"(Key \([^()\n]*\)=\().*?(\) (?:already exists|is not present|is still referenced|conflicts)|$)", re.M
        ),
        r"\1[redacted]\2",
    ),
    # MySQL: `Duplicate entry 'ana@example.com' for key 'email'`.
    (
        re.compile(r"((?:Duplicate entry|Incorrect \w+ value:|Data truncat\w+[^'\n]*)\s*)'.*?'(?= for |\s*$)", re.M),
        r"\1'[redacted]'",
    ),
    # A statement with its values: `INSERT INTO t (a) VALUES ('x')`; PgBatch: `Batch entry 0 ... was aborted`.
    (
        re.compile(
            r"(\bvalues\s*\().*?(\)\s*(?:on conflict|as |was aborted|returning)|" + _END_OF_MESSAGE + ")", re.I | re.S
        ),
        r"\1[redacted]\2",
    ),
    (re.compile(r"(\b(?:set|where)\s+[\w\".`]+\s*=\s*)(?:\('[^']*'[^)]*\)|'[^']*'|\S+)", re.I), r"\1[redacted]"),
    # Kafka Connect's own dumps: Struct{id=1,email=...}, SinkRecord{... value=...}; to the end of the line.
    (re.compile(r"((?:Struct|SinkRecord|SourceRecord|ConnectRecord)\{)[^\n]*"), r"\1[redacted]}"),
    # Jackson quotes the payload: `at [Source: (byte[])"{"id":..."; line: 1]`, and the token it tripped over.
    (re.compile(r"(\[Source: ).*?(; line: \d+|" + _END_OF_MESSAGE + ")", re.S), r"\1[redacted]\2"),
    (
        re.compile(
            r"((?:input string|input syntax for (?:type )?[\w ]+|out of range for type [\w ]+|Unrecognized token|Text|"
            # Not `customers-value"`: there the quote ends a subject's name, or an error type's.
            r"Unparseable date|invalid value|value|literal)(?:\s*:\s*|\s+))"
            r"(?:\"[^\n]*?\"(?=[\s.,:;)]|$)|'[^\n]*?'(?=[\s.,:;)]|$))",
            re.M | re.I,
        ),
        r"\1[redacted]",
    ),
    # Credentials.
    (
        re.compile(
            r"(\b[\w.-]*(?:password|passwd|secret|token|api[_.-]?key|credential)[\w.-]*\s*[=:]\s*)"
            r"(?:\"[^\"]*\"|'[^']*'|[^\s,;&)\]}]+)",
            re.I,
        ),
        r"\1[redacted]",
    ),
    (re.compile(r"(\b\w[\w+.-]*://)[^/\s:@]+:[^/\s@]+@"), r"\1[redacted]@"),
    (re.compile(r"(\bAuthorization:?\s+\w+\s+)\S+", re.I), r"\1[redacted]"),
    # Whatever still looks like a person's address.
    (re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]*\w"), "[redacted]"),
)

_QUOTED = re.compile(
    r"(?P<kept>\b(?:column|relation|table|constraint|field|topic|subject|schema|record|type|key|class|artifact|database)"
    r"\s+)?(?P<quote>[\"'`])(?P<inside>[^\"'`\n]*)(?P=quote)",
    re.I,
)
_IDENTIFIER = re.compile(r"[A-Za-z_][\w.$-]*\Z")
_NUMBER = re.compile(r"(?<![\w.$-])[-+]?(?:0x[0-9a-fA-F]+|\d[\d,.:]*)(?!\w)")
_LONG_HEX = re.compile(r"\b(?=[0-9a-fA-F-]*\d)[0-9a-fA-F]{8,}(?:-[0-9a-fA-F]{4,})*\b")


def redact(text: str) -> str:
    """Return the text without row values, keys and credentials; its lines and identifiers stay."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def normalise(message: str) -> str:
    """Return the message without what differs from record to record, so that equal troubles are one group.

    Redacted first; then numbers become N and quoted text '...', unless it is an identifier after a word such as
    `column`. One line, at most 300 characters.
    """
    text = " ".join(redact(message).split())

    def quoted(match: re.Match[str]) -> str:
        if match["kept"] and _IDENTIFIER.match(match["inside"]):
            return match[0]
        return f"{match['kept'] or ''}'...'"

    text = _QUOTED.sub(quoted, text)
    text = _NUMBER.sub("N", _LONG_HEX.sub("N", text))
    return text if len(text) <= 300 else text[:300] + "..."


def cause_of(trace: str | None) -> str | None:
    """Return the innermost cause of a Java trace in one line, redacted: `RuleViolationException: Incompatible ...`.

    The last `Caused by:` at the start of a line; one inside a `Suppressed:` block is indented and is not the cause.
    The class loses its package.
    """
    if not trace or not trace.strip():
        return None
    parts = ("\n" + redact(trace)).split("\nCaused by: ")
    lines: list[str] = []
    for line in parts[-1].strip().splitlines():
        if line.lstrip().startswith(("at ", "... ", "Suppressed:")) and line[:1] in "\t ":
            break
        lines.append(line.strip())
    text = " ".join(line for line in lines if line)
    exception, colon, message = text.partition(":")
    if " " not in exception:
        text = f"{exception.rpartition('.')[2]}{colon}{message}"
    return text if len(text) <= CAUSE_CHARACTERS else text[:CAUSE_CHARACTERS] + "..."
