"""A bundle is the one that its manifest describes and, where a key is set, that its owner has signed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import minisign
import pytest

from cempstream.models.bundle import (
    BUNDLES,
    CARD_FILE,
    BundleError,
    load_bundle,
    newest_bundle,
    write_manifest,
)
from cempstream.models.manifest import MANIFEST_FILE, SIGNATURE_FILE, read_files
from cempstream.models.pinned import open_bundle
from cempstream.models.promotion import promote, rollback
from cempstream.models.signature import key_id, read_keys
from tests.support.bundles import add_version, copy_bundle, edit_card, public_text, shift_cemp, sign

OURS = minisign.KeyPair.generate()
THEIRS = minisign.KeyPair.generate()
KEYS = (OURS.public_key,)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_bundle(tmp_path / "mid")


def test_the_manifest_is_what_sha256sum_says(folder: Path) -> None:
    found = json.loads((folder / MANIFEST_FILE).read_text())
    for name, entry in found["files"].items():
        content = (folder / name).read_bytes()
        assert entry == {"sha256": sha256(content).hexdigest(), "size": len(content)}
    others = {path.name for path in folder.iterdir()} - {MANIFEST_FILE}
    assert set(found["files"]) == others
    assert load_bundle(folder).sha256 == sha256((folder / MANIFEST_FILE).read_bytes()).hexdigest()


def test_a_manifest_written_again_is_the_same(folder: Path) -> None:
    before = (folder / MANIFEST_FILE).read_bytes()
    assert write_manifest(folder).sha256 == sha256(before).hexdigest()
    assert (folder / MANIFEST_FILE).read_bytes() == before


def test_any_changed_number_of_the_card_is_noticed(folder: Path) -> None:
    text = (folder / CARD_FILE).read_text()
    offset = json.loads(text)["cemp"]["offset"]
    assert text.count(str(offset)) == 1
    # of the same length, so that the hash alone can tell
    last = "1" if str(offset)[-1] != "1" else "2"
    (folder / CARD_FILE).write_text(text.replace(str(offset), str(offset)[:-1] + last))
    with pytest.raises(BundleError, match=r"card\.json has sha256 .*; its manifest says"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["card.json", "templates.npz", "denoise.onnx"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:-1], r"has \d+ bytes; its manifest says \d+"),
        (lambda content: content + b" " * 100_000, r"has more bytes; its manifest says \d+"),
        (lambda content: b"\0" + content[1:], r"has sha256 .*; its manifest says"),
    ],
)
def test_a_changed_file_is_named(
    folder: Path, name: str, change: Callable[[bytes], bytes], message: str
) -> None:
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    with pytest.raises(BundleError, match=rf"{name} {message}"):
        load_bundle(folder)


def test_a_bundle_without_a_manifest_is_refused_and_the_remedy_is_named(folder: Path) -> None:
    (folder / MANIFEST_FILE).unlink()
    with pytest.raises(BundleError, match=r"manifest\.json is missing.*cempstream bundle manifest"):
        load_bundle(folder)
    write_manifest(folder)
    load_bundle(folder)


def test_a_file_that_the_manifest_does_not_name_is_refused_unless_hidden(folder: Path) -> None:
    (folder / ".DS_Store").write_text("a file browser was here")
    load_bundle(folder)
    (folder / "notes.txt").write_text("threshold changed on Tuesday")
    with pytest.raises(BundleError, match=r"notes\.txt is not on the manifest"):
        load_bundle(folder)
    assert load_bundle(write_manifest(folder).folder).name == f"mid-{newest_bundle(BUNDLES, 'mid').name}"


def test_a_folder_in_a_bundle_is_refused(folder: Path) -> None:
    (folder / "old").mkdir()
    with pytest.raises(BundleError, match="old is not on the manifest"):
        load_bundle(folder)
    with pytest.raises(BundleError, match="old is not a file"):
        write_manifest(folder)


def test_a_link_that_leaves_the_folder_is_refused_and_one_within_is_not(folder: Path) -> None:
    """A mounted volume of Kubernetes holds links into a hidden folder of its own."""
    hidden = folder / "..data"
    hidden.mkdir()
    shutil.move(folder / CARD_FILE, hidden / CARD_FILE)
    (folder / CARD_FILE).symlink_to(Path("..data") / CARD_FILE)
    load_bundle(folder)
    outside = folder.parent / "card.json"
    shutil.move(hidden / CARD_FILE, outside)
    (folder / CARD_FILE).unlink()
    (folder / CARD_FILE).symlink_to(outside)
    for read in (load_bundle, write_manifest):
        with pytest.raises(BundleError, match=r"card\.json leads out of its folder"):
            read(folder)


def test_a_pipe_in_place_of_a_file_does_not_hang_the_start(folder: Path) -> None:
    (folder / "denoise.onnx").unlink()
    os.mkfifo(folder / "denoise.onnx")
    with pytest.raises(BundleError, match=r"denoise\.onnx is not a file"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["../card.json", "/etc/passwd", "a/b", "..", "", "a\nb", "\u202ecard"])
def test_a_name_on_a_manifest_cannot_leave_the_folder(folder: Path, name: str) -> None:
    body = json.loads((folder / MANIFEST_FILE).read_text())
    body["files"][name] = body["files"][CARD_FILE]
    (folder / MANIFEST_FILE).write_text(json.dumps(body))
    with pytest.raises(BundleError, match=r"manifest\.json: "):
        load_bundle(folder)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"version": 2, "files": {}}'])
def test_what_is_no_manifest_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json: "):
        load_bundle(folder)


def test_a_signed_bundle_is_loaded_and_any_other_refused(folder: Path) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json\.minisig is missing.*signed by key"):
        load_bundle(folder, KEYS)
    sign(folder, OURS)
    assert load_bundle(folder, KEYS).sha256 == load_bundle(folder).sha256
    sign(folder, THEIRS)
    said = f"by key {key_id(THEIRS.public_key)}; what is trusted here is {key_id(OURS.public_key)}"
    with pytest.raises(BundleError, match=said):
        load_bundle(folder, KEYS)
    load_bundle(folder, (OURS.public_key, THEIRS.public_key))


def test_a_card_and_manifest_changed_together_are_refused_by_the_signature(folder: Path) -> None:
    sign(folder, OURS)
    edit_card(folder, shift_cemp(5.0))
    write_manifest(folder)
    load_bundle(folder)  # nothing contradicts itself
    with pytest.raises(BundleError, match=r"minisig is not a signature of manifest\.json as it is"):
        load_bundle(folder, KEYS)


def test_no_changed_byte_of_a_signature_passes(folder: Path) -> None:
    sign(folder, OURS)
    path = folder / SIGNATURE_FILE
    good = path.read_bytes()
    comment = len(good.splitlines(keepends=True)[0])  # not trusted, and not signed
    for at in range(comment, len(good) - 1):
        if good[at + 1 : at + 2] == b"=":  # base64 fills its last letter with bits that say nothing
            continue
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(BundleError):
            read_files(folder, KEYS)
    path.write_bytes(good)
    read_files(folder, KEYS)


def test_a_key_is_a_text_or_a_file_of_some(tmp_path: Path) -> None:
    ours, theirs = public_text(OURS), public_text(THEIRS)
    assert read_keys(f" {ours}\n") == KEYS
    path = tmp_path / "keys.pub"
    path.write_text(f"untrusted comment: minisign public key\n{ours}\n\n{theirs}\n")
    assert read_keys(str(path)) == (OURS.public_key, THEIRS.public_key)


def test_what_is_no_public_key_is_refused_and_not_repeated(tmp_path: Path) -> None:
    private = bytes(OURS.secret_key.to_base64()).decode()
    path = tmp_path / "key"
    for content in ("", "untrusted comment: none\n", private, "RWnonsense"):
        path.write_text(content)
        with pytest.raises(ValueError, match="holds") as caught:
            read_keys(str(path))
        assert private not in str(caught.value)
    for given in (private, "RWnonsense", "nowhere.pub", f"untrusted comment: none\n{public_text(OURS)}"):
        with pytest.raises(ValueError, match="neither a public key") as caught:
            read_keys(given)
        assert private not in str(caught.value)


def test_a_version_is_promoted_and_rolled_back_to_only_if_signed(tmp_path: Path) -> None:
    for version in ("1.0.0", "2.0.0"):
        sign(add_version(tmp_path, version), OURS)
    promote(tmp_path, "mid", "1.0.0", keys=KEYS)
    promote(tmp_path, "mid", "2.0.0", keys=KEYS)
    sign(tmp_path / "mid" / "1.0.0", THEIRS)
    with pytest.raises(BundleError, match="is a signature by key"):
        rollback(tmp_path, "mid", KEYS)
    assert open_bundle("mid", tmp_path, KEYS).name == "mid-2.0.0"
    add_version(tmp_path, "3.0.0")
    with pytest.raises(BundleError, match="minisig is missing"):
        promote(tmp_path, "mid", "3.0.0", keys=KEYS)
    with pytest.raises(BundleError, match="minisig is missing"):
        open_bundle("mid/3.0.0", tmp_path, KEYS)


def test_an_old_version_in_the_place_of_a_new_one_is_refused(tmp_path: Path) -> None:
    old = add_version(tmp_path, "1.0.0")
    sign(old, OURS)
    shutil.copytree(old, tmp_path / "mid" / "2.0.0")
    with pytest.raises(BundleError, match=r"2\.0\.0 holds mid-1\.0\.0"):
        open_bundle("mid", tmp_path, KEYS)
    with pytest.raises(BundleError, match=r"2\.0\.0 holds mid-1\.0\.0"):
        promote(tmp_path, "mid", "2.0.0", keys=KEYS)


@pytest.mark.skipif(shutil.which("minisign") is None, reason="the tool minisign is not installed")
def test_the_tool_minisign_signs_what_is_loaded(folder: Path, tmp_path: Path) -> None:
    public, private = tmp_path / "night.pub", tmp_path / "night.key"

    def run(*words: object) -> None:
        command = ["minisign", *map(str, words)]
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)

    run("-G", "-W", "-p", public, "-s", private)
    run("-S", "-s", private, "-m", folder / MANIFEST_FILE)
    load_bundle(folder, read_keys(str(public)))
    (folder / SIGNATURE_FILE).unlink()
    run("-S", "-l", "-s", private, "-m", folder / MANIFEST_FILE)  # the older form, not hashed first
    load_bundle(folder, read_keys(str(public)))
    sign(folder, OURS)
    run("-V", "-P", public_text(OURS), "-m", folder / MANIFEST_FILE)
