"""Error headers of Connect, Streams and Spring; the last set counts."""

from __future__ import annotations

import pytest

from bot.probes.error_headers import ErrorHeaders, read_error_headers


def connect(**fields: str | None):
    return [
        (f"__connect.errors.{n.replace('_', '.')}", v.encode() if v is not None else None) for n, v in fields.items()
    ]


FIRST = connect(
    topic="t", partition="0", offset="41", stage="TASK_PUT", exception_class_name="a.B", exception_message="m"
)
SECOND = connect(topic="retry", partition="3", offset="7", stage="VALUE_CONVERTER")


@pytest.mark.parametrize(
    ("expected", "headers"),
    [
        (None, []),
        (None, [("trace-id", b"1"), ("kafka_receivedTopic", b"t")]),
        (None, [("__connect.errors.unheard-of", b"x")]),
        (ErrorHeaders(1, "t", 0, 41, "TASK_PUT", "a.B", "m"), FIRST),
        (ErrorHeaders(1, "t", 0, 41, "TASK_PUT", "a.B", "m"), [("own", b"1"), *FIRST, ("own", b"2")]),
        (ErrorHeaders(2, "retry", 3, 7, "VALUE_CONVERTER"), FIRST + SECOND),  # no exception of the first set leaks in
        (ErrorHeaders(3, "t", 0, 41, "TASK_PUT", "a.B", "m"), FIRST + SECOND + FIRST),
        (ErrorHeaders(1, "t", None, None), connect(topic="t", partition="x", offset=None, exception_message=None)),
        (
            ErrorHeaders(1, "t", 1, 2, None, "E", "boom"),
            [
                ("__streams.errors.exception", b"E"),
                ("__streams.errors.message", b"boom"),
                ("__streams.errors.topic", b"t"),
                ("__streams.errors.partition", b"1"),
                ("__streams.errors.offset", b"2"),
            ],
        ),
        (
            ErrorHeaders(1, "t", 5, 300, None, "a.Cause", "listener failed"),
            [
                ("kafka_dlt-exception-fqcn", b"s.ListenerExecutionFailedException"),
                ("kafka_dlt-exception-cause-fqcn", b"a.Cause"),
                ("kafka_dlt-exception-message", b"listener failed"),
                ("kafka_dlt-original-topic", b"t"),
                ("kafka_dlt-original-partition", b"\x00\x00\x00\x05"),
                ("kafka_dlt-original-offset", b"\x00\x00\x00\x00\x00\x00\x01\x2c"),
            ],
        ),
        (
            ErrorHeaders(1, None, None, 0x3132333435363738),  # Spring's 8 bytes that happen to be digits
            [("kafka_dlt-original-partition", b"12"), ("kafka_dlt-original-offset", b"12345678")],
        ),
        (ErrorHeaders(2, "t", 0, 41, "TASK_PUT", "a.B", "m"), [("kafka_dlt-original-topic", b"o"), *FIRST]),
        (ErrorHeaders(1, "t\ufffd"), [("__connect.errors.topic", b"t\xff")]),
    ],
)  # fmt: skip
def test_the_last_set_and_the_number_of_sets(expected, headers):
    """A set begins where a name repeats or another writer begins."""
    assert expected == read_error_headers(headers)
