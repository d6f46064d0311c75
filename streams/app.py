"""The app for Faust's own command line: ``faust -A cempstream.streams.app worker``."""

from cempstream.streams.settings import Settings
from cempstream.streams.worker.agent import create_app

app = create_app(Settings())
