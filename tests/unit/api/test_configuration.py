from pathlib import Path

import pytest

from gemel.api.config import load_config
from gemel.api.main import main
from gemel.api.tokens import Identity, Role, TokenFile, digest_of, load_tokens
from gemel.core.outcome import Permanent

CONFIG = """
region: paris
listen: {address: 198.18.1.11}
tls: {ca: tls/ca.crt, certificate: tls/api.crt, key: tls/api.key}
store: {endpoints: ['198.18.1.11:2379'], ca: tls/ca.crt, certificate: tls/api.crt, key: /etc/api.key}
tokens: tokens.yaml
lease: {ttl: 10s, margin: 3500ms}
"""


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.touch(mode=mode)
    path.chmod(mode)
    path.write_text(text)
    return path


def tokens(*lines: tuple[str, str, str]) -> str:
    return "tokens:\n" + "".join(f"- {{user: {u}, role: {r}, sha256: {digest_of(t)}}}\n" for u, r, t in lines)


def test_paths_start_at_the_file_s_folder(tmp_path: Path) -> None:
    config = load_config(written(tmp_path / "api.yaml", CONFIG))
    assert config.tokens == tmp_path / "tokens.yaml"
    assert config.tls.ca == tmp_path / "tls/ca.crt"
    assert config.store.key == Path("/etc/api.key")
    assert (config.listen.port, config.lease.margin) == (7443, 3.5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "cannot read"),
        (CONFIG.replace("tokens:", "tokns:"), "tokens: Field required"),
        (CONFIG.replace("10s", "10"), "lease.ttl"),
        (CONFIG.replace("3500ms", "12s"), "margin must be less"),
    ],
)
def test_a_wrong_configuration_is_refused_by_its_field(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path / "api.yaml", text)
    with pytest.raises(Permanent, match=says) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_the_process_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tmp_path / "missing.yaml") == 2
    assert capsys.readouterr().err.startswith("gemel api: cannot read")


def test_tokens_are_known_by_their_digest(tmp_path: Path) -> None:
    path = written(tmp_path / "tokens.yaml", tokens(("ada", "admin", "s3"), ("vera", "viewer", "t4")))
    found = load_tokens(path)
    assert found.identify("t4") == Identity("vera", Role.VIEWER)
    assert found.identify("t5") is None
    assert found.identify("") is None


@pytest.mark.parametrize("text", ["tokens: [{user: a, role: root, sha256: x}]", "- a", "tokens: [", "tokns: []"])
def test_a_wrong_tokens_file_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Permanent, match=r"tokens\.yaml"):
        load_tokens(written(tmp_path / "tokens.yaml", text))


def test_a_tokens_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="chmod 600"):
        load_tokens(written(tmp_path / "tokens.yaml", tokens(), 0o640))


def test_a_withdrawn_token_is_no_longer_known_and_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "tokens.yaml", tokens(("ada", "admin", "s3"), ("eve", "admin", "e5")))
    file = TokenFile(path)
    assert file.identify("e5") is not None
    path.write_text(tokens(("ada", "admin", "s3")))
    assert file.identify("e5") is None
    path.write_text("tokens: [")
    assert file.identify("s3") is not None
