"""The app's place in a Django project: ``INSTALLED_APPS += ["cempstream.streams.exporters.tom"]``."""

from django.apps import AppConfig


class CempstreamConfig(AppConfig):
    """An app without models of its own: it fills those of the TOM Toolkit."""

    name = "cempstream.streams.exporters.tom"
    label = "cempstream"
    verbose_name = "cempstream"
