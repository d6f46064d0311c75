"""Commands of ``manage.py``. Imports Django and the app that they belong to."""
