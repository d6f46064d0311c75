"""MkDocs hooks: the pages that are made from the code, and those that live elsewhere in the repository.

None of them is committed under ``docs/``, so that none can differ from what it describes.
"""

from __future__ import annotations

import re
from pathlib import Path

import generated
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]

#: Pages of the site that are kept beside what they describe: file in the repository to page.
KEPT_ELSEWHERE = {
    "deploy/README.md": "operation/deployment.md",
    "deploy/RUNBOOK.md": "operation/runbook.md",
    "deploy/METRICS.md": "reference/metrics.md",
    "tests/chaos/README.md": "operation/faults.md",
    "models/synthesis/README.md": "synthesis.md",
    "SECURITY.md": "operation/security.md",
    "CHANGELOG.md": "changelog.md",
}

_LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, the pages kept elsewhere and the reports of the models."""
    for uri, make in generated.PAGES.items():
        files.append(File.generated(config, uri, content=make()))
    for source, uri in KEPT_ELSEWHERE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, uri, content=_relinked(text, source, uri)))
    for path in sorted((ROOT / "models" / "reports").rglob("*")):
        if path.is_file():
            uri = path.relative_to(ROOT / "models").as_posix()
            files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links of a page out of ``docs/`` lead to the pages that the site has of those files."""
    uri = page.file.src_uri
    return markdown if page.file.generated_by else _relinked(markdown, f"docs/{uri}", uri)


def _relinked(text: str, source: str, uri: str) -> str:
    """Return a page whose links between files of the repository lead to pages of the site."""
    up = "../" * uri.count("/")

    def relink(link: re.Match[str]) -> str:
        target = (ROOT / source).parent.joinpath(link[1]).resolve().relative_to(ROOT).as_posix()
        page = KEPT_ELSEWHERE.get(target) or target.removeprefix("docs/").removeprefix("models/")
        return up + page + (link[2] or "")

    return _LINK.sub(relink, text)
