from pathlib import Path
from typing import Any

import pytest

from gemel.cli.config import config_path, load_context, parse_context
from gemel.cli.exits import CommandFailed, Exit

PATH = Path("/home/ada/.config/gemel/config.yaml")
ONE = {"endpoints": ["https://a:7443/", "https://b:7443"], "ca": "ca.crt", "token_file": "/secret/token"}


def test_a_context_is_read_with_paths_relative_to_its_file() -> None:
    context = parse_context({"contexts": {"lab": ONE}, "current": "lab"}, PATH)
    assert context.endpoints == ("https://a:7443", "https://b:7443")
    assert context.ca == PATH.parent / "ca.crt"
    assert context.token_file == Path("/secret/token")


def test_the_one_wanted_goes_before_the_current_one_and_a_lone_one_needs_no_naming() -> None:
    contexts = {"a": ONE, "b": ONE}
    assert parse_context({"contexts": contexts, "current": "a"}, PATH, "b").name == "b"
    assert parse_context({"contexts": {"a": ONE}}, PATH).name == "a"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (None, "contexts: missing"),
        ([], "contexts: missing"),
        ({"contexts": {}}, "contexts: missing"),
        ({"contexts": {"a": ONE, "b": ONE}}, "current: missing"),
        ({"contexts": {"a": ONE}, "current": "c"}, "no context 'c'"),
        ({"contexts": {"a": {}}}, "contexts.a.endpoints"),
        ({"contexts": {"a": {"endpoints": []}}}, "contexts.a.endpoints"),
        ({"contexts": {"a": {"endpoints": ["a:7443"]}}}, "'a:7443'"),
        ({"contexts": {"a": ONE | {"ca": 3}}}, "contexts.a.ca"),
        ({"contexts": {"a": ONE | {"tokenfile": "x"}}}, "contexts.a.tokenfile"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(document: Any, words: str) -> None:
    with pytest.raises(CommandFailed) as raised:
        parse_context(document, PATH)
    assert raised.value.code is Exit.USAGE
    assert words in raised.value.message and str(PATH) in raised.value.message


def test_the_variable_goes_before_the_home_folder() -> None:
    assert config_path({"GEMEL_CONFIG": "/etc/x.yaml"}) == Path("/etc/x.yaml")
    assert config_path({"XDG_CONFIG_HOME": "/xdg"}) == Path("/xdg/gemel/config.yaml")
    assert config_path({}).parts[-3:] == (".config", "gemel", "config.yaml")


@pytest.mark.parametrize("text", [None, "contexts: [", "\x00"])
def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CommandFailed) as raised:
        load_context(path)
    assert raised.value.code is Exit.USAGE and str(path) in raised.value.message


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("sesame\n")
    context = parse_context({"contexts": {"a": ONE | {"token_file": str(token)}}}, PATH)
    token.chmod(0o640)
    with pytest.raises(CommandFailed) as raised:
        context.token()
    assert "sesame" not in str(raised.value) and "chmod 600" in raised.value.hint
    token.chmod(0o600)
    assert context.token() == "sesame"
