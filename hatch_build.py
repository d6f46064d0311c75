"""Where the models go: into the wheel of a checkout, and into a second wheel of a release.

A subscriber reads alerts and needs no models, which are nine tenths of the bytes. So a release, made with
CEMPSTREAM_RELEASE=1 (`make wheel`), leaves them out and lets the `worker` extra bring ``cempstream-models``
(``models/pyproject.toml``) of the same version. Whatever is built otherwise, `pip install '.[cpu]'` for one,
holds them, so that a checkout is all that an install needs.
"""

import os
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ModelsHook(BuildHookInterface[Any]):
    """Adds the models to a wheel, or the requirement that brings them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds; ``version`` is ``standard`` or ``editable``."""
        if version != "standard":
            return
        if os.environ.get("CEMPSTREAM_RELEASE") == "1":
            # hatchling writes what `worker` brings into every extra that has it.
            extras = self.metadata.core.optional_dependencies
            build_data["dependencies"].extend(
                f"cempstream-models=={self.metadata.version}; extra == '{extra}'"
                for extra, brings in extras.items()
                if set(extras["worker"]) <= set(brings)
            )
        else:
            folders = self.config["models"]
            build_data["force_include"].update({folder: folder for folder in folders})
