"""The README names every setting and every verb, and none that is not there."""

import re
from pathlib import Path

from pydantic import BaseModel

from cempstream.streams.cli import VERBS
from cempstream.streams.settings import Settings

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def _variables() -> set[str]:
    names = set()
    for group, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        names |= {f"CEMP_{group}__{name}".upper() for name in model.model_fields}
    return names


def test_every_setting_is_in_the_table_and_no_other() -> None:
    named = set(re.findall(r"CEMP_[A-Z_]+__[A-Z_]+", README))
    assert named == _variables()


def test_every_verb_is_told_of_and_no_other() -> None:
    told = set(re.findall(r"(?:`|\$ )cempstream ([a-z]+)\b", README))
    assert told <= set(VERBS)
    for name in VERBS:
        assert re.search(rf"\b{name}\b", README), f"the README does not tell of `cempstream {name}`"
