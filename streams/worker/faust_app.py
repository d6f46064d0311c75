"""A Faust app with the settings that a spectrum worker needs, and the process that runs it.

Every setting has a measured reason; see the comments. ``faust -A module worker`` and `run_worker` end the
process in the same way.
"""

import asyncio
import logging
import ssl
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import faust
import mode
from faust.types import TopicT, TransportT

from cempstream.streams.kafka.gaps import Gap
from cempstream.streams.settings import KafkaSettings
from cempstream.streams.telemetry.watchdog import end_at_once
from cempstream.streams.worker.faust_transport import Consumer, Transport

logger = logging.getLogger(__name__)

STOP_DEADLINE_S = 25.0
"""An orderly end may take this long; Kubernetes kills after 30 s."""


class BoundedWorker(faust.Worker):
    """A Faust worker that ends within `STOP_DEADLINE_S`, whatever the broker does.

    When the broker is gone Faust waits for it forever, also after a crash, and a supervisor restarts only a
    process that has ended.
    """

    async def on_stop(self) -> None:
        """Start the clock; Faust calls it first, on a signal and after a crash."""
        deadline = threading.Timer(STOP_DEADLINE_S, _give_up)
        deadline.daemon = True
        deadline.start()
        await super().on_stop()


def _give_up() -> NoReturn:
    logger.critical(
        "no orderly end within %g s: ending at once; uncommitted work will be repeated", STOP_DEADLINE_S
    )
    end_at_once(1)


class App(faust.App):
    """A Faust app without tables and their folders on disk, and with a preparation.

    Attributes
    ----------
    preparation
        Called once, before the broker is asked for anything: a worker without models takes no partition.
    on_gap
        Told of every place of the group that the broker no longer holds.
    kafka
        How the broker is asked whether a log is still the one that was read; None: it is not asked.
    on_assigned
        Given the consumer whenever it knows its partitions and stands at the group's places, before it reads.
    """

    preparation: Callable[[], object] | None = None
    on_gap: Callable[[Gap], Awaitable[None]] | None = None
    kafka: KafkaSettings | None = None
    on_assigned: Callable[[Consumer], Awaitable[None]] | None = None

    def prepare(self) -> None:
        """Do the preparation once."""
        preparation, self.preparation = self.preparation, None
        if preparation is not None:
            preparation()

    async def on_first_start(self) -> None:
        """Prepare the app also when Faust's own command line starts it."""
        self.prepare()
        await super().on_first_start()

    def _create_directories(self) -> None:
        """Create nothing."""

    def _new_transport(self) -> TransportT:
        return Transport(self.conf.broker_consumer, self)


def new_app(
    group: str,
    bootstrap: str,
    *,
    session_timeout_s: float = 10.0,
    heartbeat_s: float = 3.0,
    commit_interval_s: float = 0.25,
    max_fetch_bytes: int = 4 * 1024 * 1024,
    max_buffered: int = 1024,
    **options: Any,
) -> App:
    """Return the app of one consumer group.

    Parameters
    ----------
    group
        Consumer group, and the app's id.
    bootstrap
        ``host:port[,host:port…]``.
    session_timeout_s, heartbeat_s
        After how long a silent worker loses its partitions, and how often the worker reports. Joining a group
        takes half the session timeout on the embedded broker, so 6 s and 1.5 s are used there.
    commit_interval_s
        How often acknowledged offsets are committed; a killed worker's successor repeats this much.
    max_fetch_bytes
        Per partition and fetch. Faust's 1 MiB is 33 LAMOST packets of 31 KB, less than a batch.
    max_buffered
        Packets that Faust may hold before it stops fetching; 1,024 LAMOST packets are 32 MB.
    options
        Further Faust settings, such as credentials; they override the above.
    """
    settings: dict[str, Any] = {
        "broker": ";".join(f"kafka://{address}" for address in bootstrap.split(",")),
        "broker_commit_interval": commit_interval_s,
        "broker_session_timeout": session_timeout_s,
        "broker_heartbeat_interval": heartbeat_s,
        # Where the group's place does not exist our consumer decides, and says so; aiokafka would in silence.
        "consumer_auto_offset_reset": "none",
        "consumer_max_fetch_size": max_fetch_bytes,
        "stream_buffer_maxsize": max_buffered,
        # Faust's wait for an empty stream has no limit: a worker held by its breaker would hold up every
        # rebalance. `EventBatches` finishes what is in flight, within a limit.
        "stream_wait_empty": False,
        # A failed agent ends the process; by default Faust restarts it on a stream that yields nothing more.
        "agent_supervisor": mode.CrashingSupervisor,
        "Worker": BoundedWorker,
        "web_enabled": False,
        "worker_redirect_stdouts": False,
        # Neither a leader's topic nor changelogs are needed, so neither is Faust's own assignor.
        "topic_disable_leader": True,
        "topic_allow_declare": False,
        "table_standby_replicas": 0,
    }
    return App(group, **{**settings, **options})


def broker_credentials(kafka: KafkaSettings) -> faust.SSLCredentials | faust.SASLCredentials | None:
    """Return Faust's credentials for the broker; None where the broker needs none.

    Raises
    ------
    OSError
        A file of authorities, of our certificate or of a password cannot be read.
    """
    if kafka.security_protocol == "PLAINTEXT":
        return None
    context = ssl.create_default_context(cafile=str(kafka.ca_file) if kafka.ca_file else None)
    if kafka.cert_file:
        # Without a function Python would ask the terminal for the password of an encrypted key.
        context.load_cert_chain(kafka.cert_file, kafka.key_file, lambda: kafka.key_password() or "")
    if kafka.security_protocol == "SSL":
        return faust.SSLCredentials(context)
    return faust.SASLCredentials(
        username=kafka.username,
        password=kafka.secret(),
        mechanism=kafka.sasl_mechanism,
        ssl_context=context if kafka.security_protocol == "SASL_SSL" else None,
    )


def raw_topic(app: faust.App, *names: str) -> TopicT:
    """Return these topics as one whose events are bytes; a typed topic crashes on a malformed packet."""
    return app.topic(*names, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def run_worker(app: faust.App) -> NoReturn:
    """Run the app until SIGTERM or SIGINT (exit 0) or a failure (exit 1), logging as already configured.

    Raises
    ------
    SystemExit
        Always.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    app.finalize()
    worker = app.Worker(loop=loop, quiet=True, override_logging=False, stdout=sys.stderr, stderr=sys.stderr)
    worker.spinner = None  # it writes escape codes even where there is no terminal
    worker.execute_from_commandline()
