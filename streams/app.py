"""The app for Faust's own command line: ``faust -A cempstream.streams.app worker``."""

from cempstream.streams.settings import Settings
from cempstream.streams.worker import create_app

app = create_app(Settings())
