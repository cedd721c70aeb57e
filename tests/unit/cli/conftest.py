from pathlib import Path

import pytest
from tests.unit.cli.region import GRA1, PAR1, FakeRegion, Terminal


@pytest.fixture
def region() -> FakeRegion:
    return FakeRegion()


@pytest.fixture
def gemel(region: FakeRegion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """The command line, in a context with both endpoints and a token."""
    monkeypatch.delenv("GEMEL_CONTEXT", raising=False)
    monkeypatch.setattr("gemel.cli.session.POLL_SECONDS", 0.001)
    monkeypatch.setattr("gemel.cli.client.RESUME_PAUSE", 0.001)
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("sesame\n")
    config = tmp_path / "config.yaml"
    config.write_text(f"contexts: {{lab: {{endpoints: ['{PAR1}', '{GRA1}'], token_file: token}}}}\ncurrent: lab\n")
    return Terminal(region, config)
