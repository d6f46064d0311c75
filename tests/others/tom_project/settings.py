"""A TOM as ``manage.py tom_setup`` makes one, small: its database is the file that TOM_DATABASE names."""

import os

from tom_common.default_settings import *  # noqa: F403
from tom_common.default_settings import TOMTOOLKIT_INSTALLED_APPS, TOMTOOLKIT_MIDDLEWARE

SECRET_KEY = "a-test-has-no-secrets"
DEBUG = False
ALLOWED_HOSTS = ["testserver"]
TOM_NAME = "A TOM"
SITE_ID = 1
INSTALLED_APPS = [*TOMTOOLKIT_INSTALLED_APPS, "tom_alertstreams", "cempstream.streams.exporters.tom"]
MIDDLEWARE = TOMTOOLKIT_MIDDLEWARE
ROOT_URLCONF = "tom_common.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.debug",
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
CRISPY_TEMPLATE_PACK = "bootstrap5"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["TOM_DATABASE"]}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
MEDIA_ROOT = os.path.dirname(os.environ["TOM_DATABASE"])
MEDIA_URL = "/data/"
TASKS = {"default": {"BACKEND": "django_tasks.backends.immediate.ImmediateBackend"}}
LOGGING = {
    "version": 1,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}
TARGET_TYPE = "SIDEREAL"
TOM_FACILITY_CLASSES = []
TARGET_PERMISSIONS_ONLY = True
TARGET_DEFAULT_PERMISSION = "PUBLIC"
AUTH_STRATEGY = "READ_ONLY"
EXTRA_FIELDS = []
HOOKS = {}
DATA_SHARING = {}
HINTS_ENABLED = False
OPEN_URLS = []
FACILITIES = {}
ALERT_STREAMS = [
    {
        "NAME": "cempstream.streams.exporters.tom.alertstream.CempAlertStream",
        "OPTIONS": {
            "BOOTSTRAP": os.environ.get("TOM_BROKER", "127.0.0.1:9092"),
            "GROUP_ID": "a-tom",
            "START": "earliest",
            "UNTIL": "now",
            "TOPIC_HANDLERS": {
                os.environ.get("TOM_TOPIC", "cemp.alerts.v1"): (
                    "cempstream.streams.exporters.tom.alertstream.handle_alert"
                )
            },
        },
    }
]
