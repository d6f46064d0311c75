"""Apache Kafka as an observatory would run it: SCRAM over TLS, and no user may do what was not granted."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient

from cempstream.streams.rehearsal.embedded import BrokerError
from tests.broker.kafka import KafkaBroker

MECHANISM = "SCRAM-SHA-512"
ADMIN = "admin"


class SecureKafka(KafkaBroker):
    """One Kafka node with one listener for clients: SASL_SSL, on loopback, with an authorizer that says no.

    Parameters
    ----------
    users
        Names beside ``admin``, who may do everything; their passwords are in `passwords`.
    config
        As for `KafkaBroker`.

    Attributes
    ----------
    passwords
        By user; new ones every time.
    """

    name = "Apache Kafka (SASL_SSL)"

    def __init__(
        self,
        users: Iterable[str] = ("worker", "subscriber"),
        config: Mapping[str, str | int] | None = None,
    ) -> None:
        super().__init__()
        self.passwords = {user: secrets.token_hex(16) for user in (ADMIN, *users)}
        keystore, password = self._folder / "broker.p12", secrets.token_hex(16)
        self.ca_file = self._folder / "ca.pem"
        _make_certificate(keystore, self.ca_file, password)
        # Only nodes reach the controller's listener, and without a name; clients have but the other one.
        protocols = "SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT"
        self._settings |= {
            "listeners": str(self._settings["listeners"]).replace("PLAINTEXT://", "SASL_SSL://", 1),
            "advertised.listeners": f"SASL_SSL://{self.bootstrap}",
            "listener.security.protocol.map": protocols,
            "inter.broker.listener.name": "SASL_SSL",
            "sasl.enabled.mechanisms": MECHANISM,
            "sasl.mechanism.inter.broker.protocol": MECHANISM,
            f"listener.name.sasl_ssl.{MECHANISM.lower()}.sasl.jaas.config": _jaas(
                ADMIN, self.passwords[ADMIN]
            ),
            **{f"ssl.{store}.location": str(keystore) for store in ("keystore", "truststore")},
            **{f"ssl.{store}.password": password for store in ("keystore", "truststore")},
            **{f"ssl.{store}.type": "PKCS12" for store in ("keystore", "truststore")},
            "ssl.key.password": password,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{ADMIN};User:ANONYMOUS",
            "auto.create.topics.enable": "false",
            **(config or {}),
        }
        self._format_arguments = tuple(
            argument
            for user, secret in self.passwords.items()
            for argument in ("--add-scram", f"{MECHANISM}=[name={user},password={secret}]")
        )
        self._client_config = self.client_config(ADMIN)

    def client_config(self, user: str, password: str | None = None) -> dict[str, str]:
        """Return the librdkafka properties with which a user connects."""
        return {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.ca_file),
            "sasl.mechanism": MECHANISM,
            "sasl.username": user,
            "sasl.password": password or self.passwords[user],
        }

    def environment(self, user: str) -> dict[str, str]:
        """Return the settings of a worker that connects as a user, its password in a file."""
        password_file = self._folder / f"{user}.password"
        password_file.write_text(self.passwords[user] + "\n", encoding="utf-8")
        password_file.chmod(0o600)
        return {
            "CEMP_KAFKA__BOOTSTRAP": self.bootstrap,
            "CEMP_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "CEMP_KAFKA__SASL_MECHANISM": MECHANISM,
            "CEMP_KAFKA__USERNAME": user,
            "CEMP_KAFKA__PASSWORD_FILE": str(password_file),
            "CEMP_KAFKA__CA_FILE": str(self.ca_file),
        }

    def admin(self) -> AdminClient:
        """Return a client that may do everything."""
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, **self.client_config(ADMIN)})

    def grant(self, rights: Iterable[Any]) -> None:
        """Grant rights."""
        admin = self.admin()
        for granted in admin.create_acls(list(rights), request_timeout=30).values():
            granted.result(30)

    def properties(self) -> str:
        """Return the settings that the broker runs with."""
        return (self._folder / "server.properties").read_text()


def _jaas(user: str, password: str) -> str:
    module = "org.apache.kafka.common.security.scram.ScramLoginModule"
    return f'{module} required username="{user}" password="{password}";'


def _make_certificate(keystore: Path, certificate: Path, password: str) -> None:
    """Make a key with its own certificate, for the loopback address and two days."""
    store = ["-alias", "kafka", "-keystore", str(keystore), "-storepass", password]
    extensions = ("san=ip:127.0.0.1,dns:localhost", "bc:c=ca:true", "eku=serverAuth,clientAuth")
    made = ["-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-storetype", "PKCS12"]
    made += ["-dname", "CN=127.0.0.1", "-validity", "2", *store]
    for extension in extensions:
        made += ["-ext", extension]
    for arguments in (made, ["-exportcert", "-rfc", "-file", str(certificate), *store]):
        done = subprocess.run(
            ["keytool", *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise BrokerError(f"no certificate could be made: {done.stdout}{done.stderr}")
