"""Apache Kafka with a second listener behind a link that may be slow or cut: plain, or with certificates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from cempstream.streams.rehearsal.embedded import free_port
from tests.broker.kafka import KILLED_MS, KafkaBroker
from tests.broker.secure_kafka import MECHANISM
from tests.support.link import Link
from tests.support.night import MAX_MESSAGE_BYTES

#: Of the key of a client's certificate.
KEY_PASSWORD = "of-the-key-4b1d"


class LinkedKafka(KafkaBroker):
    """One Kafka node: the tests reach it directly, a worker through `link`.

    Parameters
    ----------
    config
        Further broker settings.
    host
        The name by which it tells clients of the link.

    Attributes
    ----------
    linked
        ``host:port`` by which the worker reaches it.
    """

    protocol = "PLAINTEXT"

    def __init__(self, config: dict[str, str | int] | None = None, *, host: str = "127.0.0.1") -> None:
        super().__init__(silence_ms=KILLED_MS)
        port, protocols = free_port(), self._settings["listener.security.protocol.map"]
        self._linked_port = port
        self.link = Link(port)
        self.linked = f"{host}:{self.link.port}"
        self._settings |= {
            "listeners": f"{self._settings['listeners']},LINKED://127.0.0.1:{port}",
            "advertised.listeners": f"{self._settings['advertised.listeners']},LINKED://{self.linked}",
            "listener.security.protocol.map": f"{protocols},LINKED:{self.protocol}",
            "inter.broker.listener.name": "PLAINTEXT",
            "message.max.bytes": MAX_MESSAGE_BYTES,
            **(config or {}),
        }

    def move(self, address: str) -> None:
        """End the link where it listens now, and open it at another address of this machine, on its port."""
        port = self.link.port
        self.link.__exit__(None, None, None)
        self.link = Link(self._linked_port, (address, port))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.link.__exit__(kind, error, trace)
        super().__exit__(kind, error, trace)


class ScramKafka(LinkedKafka):
    """Through the link it asks for a password (SCRAM)."""

    name = "Apache Kafka (SCRAM)"
    protocol = "SASL_PLAINTEXT"

    def __init__(self) -> None:
        super().__init__()
        self._settings |= {
            "sasl.enabled.mechanisms": MECHANISM,
            f"listener.name.linked.{MECHANISM.lower()}.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
        }

    def set_password(self, user: str, password: str) -> None:
        """Let a user in with this password alone."""
        change = UserScramCredentialUpsertion(
            user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), password.encode()
        )
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.alter_user_scram_credentials([change])[user].result(30)

    def environment(self, user: str, password_file: Path) -> dict[str, str]:
        """Return the settings of a worker."""
        return {
            "CEMP_KAFKA__BOOTSTRAP": self.linked,
            "CEMP_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "CEMP_KAFKA__SASL_MECHANISM": MECHANISM,
            "CEMP_KAFKA__USERNAME": user,
            "CEMP_KAFKA__PASSWORD_FILE": str(password_file),
        }


class CertifiedKafka(LinkedKafka):
    """Through the link it asks for TLS with a certificate of the client's (mTLS).

    Parameters
    ----------
    lives_s
        For how long the broker's certificate is valid.
    """

    name = "Apache Kafka (mTLS)"
    protocol = "SSL"

    def __init__(self, lives_s: float = 86400.0) -> None:
        super().__init__()
        self.authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.ca_file = self._folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca_file)
        self._keystore = self._folder / "broker.pem"
        self.certify_broker(lives_s)
        prefix = "listener.name.linked.ssl"
        self._settings |= {
            f"{prefix}.client.auth": "required",
            f"{prefix}.keystore.type": "PEM",
            f"{prefix}.keystore.location": str(self._keystore),
            f"{prefix}.truststore.type": "PEM",
            f"{prefix}.truststore.location": str(self.ca_file),
        }

    def certify_broker(self, lives_s: float) -> None:
        """Give the broker a new certificate, for its next start."""
        certificate = self._issue("127.0.0.1", lives_s)
        key = _as_pkcs8(certificate, NoEncryption())
        self._keystore.write_bytes(key + b"".join(pem.bytes() for pem in certificate.cert_chain_pems))

    def certify_client(self, folder: Path, lives_s: float = 86400.0) -> dict[str, str]:
        """Write a client's certificate, its encrypted key and the key's password, and return its settings."""
        certificate = self._issue("worker@observatory.example", lives_s)
        files = {name: folder / f"{name}.pem" for name in ("cert", "key", "password")}
        files["cert"].write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
        files["key"].write_bytes(_as_pkcs8(certificate, BestAvailableEncryption(KEY_PASSWORD.encode())))
        files["password"].write_text(KEY_PASSWORD + "\n")
        return {
            "CEMP_KAFKA__BOOTSTRAP": self.linked,
            "CEMP_KAFKA__SECURITY_PROTOCOL": "SSL",
            "CEMP_KAFKA__CA_FILE": str(self.ca_file),
            "CEMP_KAFKA__CERT_FILE": str(files["cert"]),
            "CEMP_KAFKA__KEY_FILE": str(files["key"]),
            "CEMP_KAFKA__KEY_PASSWORD_FILE": str(files["password"]),
        }

    def _issue(self, name: str, lives_s: float) -> trustme.LeafCert:
        now = datetime.now(UTC)
        return self.authority.issue_cert(
            name,
            not_before=now - timedelta(hours=1),
            not_after=now + timedelta(seconds=lives_s),
            key_type=trustme.KeyType.ECDSA,
        )

    def __enter__(self) -> Self:
        super().__enter__()
        return self


def _as_pkcs8(certificate: trustme.LeafCert, encryption: KeySerializationEncryption) -> bytes:
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
