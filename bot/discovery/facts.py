"""What the systems said when they were asked: frozen, and without a single secret.

A connector's config holds passwords: only the settings of `KEPT` are taken out of it, and of a JDBC address only the
database's name. Unknown is None, never empty: "no connector" and "Connect did not answer" are two things.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from bot.ports import ConnectorState, GroupEntry

# Settings that say which topics, groups, tables and dead letter queue a connector has; none of them is a secret.
KEPT = re.compile(
    r"connector\.class|topics(\.regex)?|topic\.(prefix|heartbeat\.prefix|transaction)|database\.server\.name"
    r"|(table|collection)\.(include\.list|whitelist|name\.format)|(schema|database)\.history\.(internal\.)?kafka\.topic"
    r"|signal\.kafka\.topic|notification\.sink\.topic\.name|kafka\.topic|iceberg\.(tables|control\.topic)"
    r"|consumer\.override\.group\.id|errors\.(tolerance|log\.enable|deadletterqueue\..*)|transforms"
    r"|transforms\.[^.]+\.(type|regex|replacement|topic\.regex|topic\.replacement)"
    r"|(key|value)\.converter\.(key|value)\.subject\.name\.strategy"
)
_JDBC_DATABASE = re.compile(r"jdbc:\w+://[^/?;]+/([\w$-]+)")


@dataclass(frozen=True)
class ConnectorFacts:
    """A connector as Connect runs it. `type` is the API's: source, sink or unknown.

    `used_topics` are those it has read or written since it was created (KIP-558), None where Connect does not tell.
    """

    name: str
    type: str
    settings: Mapping[str, str] = field(default_factory=dict)
    used_topics: tuple[str, ...] | None = None
    database: str | None = None

    @property
    def java_class(self) -> str:
        return self.settings.get("connector.class", "")


@dataclass(frozen=True)
class Facts:
    """Everything that was asked for and answered. A part that was not asked is None, like one that did not answer.

    `unreached` are (part, reason) of those that were asked in vain, `asked` all that were; `groups` are those that
    have committed on a topic of interest, with these topics, and those that could not be asked.
    """

    connectors: tuple[ConnectorFacts, ...] | None = None
    topics: tuple[str, ...] | None = None
    groups: tuple[GroupEntry, ...] | None = None
    subjects: tuple[str, ...] | None = None
    alertmanagers: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    unreached: tuple[tuple[str, str], ...] = ()
    not_known: tuple[str, ...] = ()

    @property
    def is_blind(self) -> bool:
        """Whether systems were named and not one of them answered."""
        return bool(self.asked) and len(self.unreached) == len(self.asked)


def connector_facts(state: ConnectorState, used_topics: tuple[str, ...] | None) -> ConnectorFacts:
    """Return what may be kept of a connector."""
    database = _JDBC_DATABASE.match(str(state.config.get("connection.url", "")))
    return ConnectorFacts(
        name=state.connector,
        type=state.type,
        settings=MappingProxyType(
            {key: str(value) for key, value in sorted(state.config.items()) if value and KEPT.fullmatch(key)}
        ),
        used_topics=used_topics,
        database=database[1] if database else None,
    )
