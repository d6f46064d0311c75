"""The documentation site: it builds without a warning, its notebooks run, and no page fetches anything."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.docs, pytest.mark.timeout(900)]

#: What a browser loads by itself when it opens a page: scripts, styles, pictures, fonts.
_LOADED = re.compile(
    r"<(?:script|img|iframe)\b[^>]*\bsrc=\"(https?://[^\"]+)|<link\b[^>]*\bhref=\"(https?://[^\"]+)"
)
_IN_STYLE = re.compile(r"url\(\s*[\"']?(https?://[^)\"']+)|@import\s+[\"'](https?://[^\"']+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make docs` does and return its folder."""
    folder = tmp_path_factory.mktemp("site")
    here = Path(sys.executable).parent
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=PROJECT,
        env={
            **os.environ,
            "PATH": f"{here}:{os.environ['PATH']}",
            "EXECUTE_NOTEBOOKS": "true",
            "NO_MKDOCS_2_WARNING": "1",
        },
        capture_output=True,
        text=True,
        timeout=840,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    loaded = {
        str(path.relative_to(site)): found
        for path in site.rglob("*.html")
        if (found := [a or b for a, b in _LOADED.findall(path.read_text(encoding="utf-8"))])
    }
    assert not loaded
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not _IN_STYLE.findall(styles)


@pytest.mark.parametrize("name", ["observer", "survey", "scientist"])
def test_a_notebook_stands_there_with_its_output(site: Path, name: str) -> None:
    page = (site / "notebooks" / name / "index.html").read_text(encoding="utf-8")
    assert "jp-OutputArea-output" in page
