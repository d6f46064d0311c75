"""The app for Faust's own command line: ``faust -A cempstream.streams.app worker``."""

import sys

from cempstream.errors import fixable_errors, in_one_line
from cempstream.streams.settings import read_settings
from cempstream.streams.worker.create import create_app

try:
    app = create_app(read_settings())
except fixable_errors() as error:
    sys.exit(in_one_line(error))
