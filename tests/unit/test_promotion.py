"""Promotion: which version of a bundle a bare name means, and the way back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cempstream.models.bundle import BundleError, load_bundle
from cempstream.models.pinned import find_bundle
from cempstream.models.promotion import active_version, bundle_versions, promote, promotions, rollback
from tests.support.bundles import add_version


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for version in ("1.9.0", "1.10.0"):
        add_version(tmp_path, version)
    return tmp_path


def test_a_bare_name_means_the_newest_until_a_version_is_promoted(root: Path) -> None:
    assert bundle_versions(root, "mid") == ["1.9.0", "1.10.0"]
    assert active_version(root, "mid") is None
    assert find_bundle("mid", root).name == "1.10.0"
    promote(root, "mid", "1.9.0")
    assert find_bundle("mid", root).name == "1.9.0"
    assert find_bundle("mid/1.10.0", root).name == "1.10.0"
    assert load_bundle(find_bundle("mid", root)).name == "mid-1.9.0"


def test_rollback_returns_to_the_version_before(root: Path) -> None:
    promote(root, "mid", "1.9.0")
    promote(root, "mid", "1.10.0")
    assert [p.version for p in promotions(root, "mid")] == ["1.9.0", "1.10.0"]
    assert rollback(root, "mid").version == "1.9.0"
    assert find_bundle("mid", root).name == "1.9.0"
    with pytest.raises(BundleError, match=r"no version of 'mid' was active before"):
        rollback(root, "mid")
    assert find_bundle("mid", root).name == "1.9.0"


def test_only_a_sound_version_is_promoted(root: Path) -> None:
    promote(root, "mid", "1.9.0")
    with pytest.raises(BundleError, match=r"no version 2\.0\.0 of 'mid' .* 1\.9\.0, 1\.10\.0"):
        promote(root, "mid", "2.0.0")
    (root / "mid" / "1.10.0" / "classify.onnx").write_bytes(b"not what was trained")
    with pytest.raises(BundleError, match="its manifest says"):
        promote(root, "mid", "1.10.0")
    with pytest.raises(BundleError, match="already"):
        promote(root, "mid", "1.9.0")
    assert active_version(root, "mid") == "1.9.0"
    assert [path.name for path in (root / "mid").iterdir() if path.is_file()] == ["active"]


def test_a_rollback_to_a_version_that_is_gone_changes_nothing(root: Path) -> None:
    promote(root, "mid", "1.9.0")
    promote(root, "mid", "1.10.0")
    shutil.rmtree(root / "mid" / "1.9.0")
    with pytest.raises(BundleError, match="missing"):
        rollback(root, "mid")
    assert active_version(root, "mid") == "1.10.0"


def test_a_promotion_file_that_nobody_understands_stops_the_start(root: Path) -> None:
    (root / "mid" / "active").write_text("newest please\n")
    with pytest.raises(BundleError, match="newest please"):
        find_bundle("mid", root)
