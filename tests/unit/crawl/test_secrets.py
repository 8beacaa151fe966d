"""What is a secret and what only looks like one.  Tokens are put together here, so that no scanner of
repositories takes this file for a leak."""

import doctest
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawl import secrets
from crawl.redact import redact

LETTERS = string.ascii_letters + string.digits


def drawn(count: int, letters: str = LETTERS, seed: int = 5) -> str:
    return "".join(random.Random(seed).choices(letters, k=count))


KEY = "\n".join(drawn(64, LETTERS + "+/", seed) for seed in range(12)) + "\n" + drawn(20) + "=="
TOKENS = {
    "github_token": "ghp_" + drawn(36),
    "gitlab_token": "glpat-" + drawn(20),
    "aws_access_key": "AKIA" + drawn(16, string.ascii_uppercase + "234567"),
    "slack_token": "xoxb-" + drawn(12, string.digits) + "-" + drawn(24),
    "slack_webhook": f"hooks.slack.com/services/T{drawn(9)}/B{drawn(9)}/{drawn(24)}",
    "stripe_key": "sk_live_" + drawn(24),
    "google_api_key": "AIza" + drawn(35),
    "npm_token": "npm_" + drawn(36),
    "pypi_token": "pypi-AgE" + drawn(80),
    "sendgrid_key": f"SG.{drawn(22)}.{drawn(43)}",
    "openai_key": "sk-proj-" + drawn(60),
    "anthropic_key": "sk-ant-api03-" + drawn(93),
    "huggingface_token": "hf_" + drawn(34, string.ascii_letters),
    "jwt": f"eyJ{drawn(20)}.eyJ{drawn(40)}.{drawn(43)}",
    "telegram_token": drawn(9, string.digits) + ":AA" + drawn(33),
    "azure_storage_key": "AccountKey=" + drawn(86),
    "vault_token": "hvs." + drawn(30),
}
VALUE = drawn(24)


def kinds(text: str) -> list[str]:
    return [secret.kind for secret in secrets.find(text)]


@pytest.mark.parametrize("kind", TOKENS)
def test_a_providers_token_is_found_whole(kind: str) -> None:
    text = f"# ä key\nclient = connect('{TOKENS[kind]}')\n"
    (found,) = secrets.find(text)
    assert (found.kind, text[found.start : found.end]) == (kind, TOKENS[kind])


@pytest.mark.parametrize(
    ("text", "kind", "secret"),
    [
        ("mail ann.smith@uni-bonn.de.", "email", "ann.smith@uni-bonn.de"),
        ('"Hello\\nann@posteo.net"', "email", "ann@posteo.net"),
        ("# Jörg <jörg.müller@uni-bonn.de>", "email", "jörg.müller@uni-bonn.de"),
        ("écrire à rené@posteo.net", "email", "rené@posteo.net"),
        ("联系我ann@posteo.net", "email", "ann@posteo.net"),
        ("bind to 81.2.69.142:80", "ipv4", "81.2.69.142"),
        ('host = "5.9.20.3"', "ipv4", "5.9.20.3"),
        ("http://[2a00:1450:4001:c01::67]/", "ipv6", "2a00:1450:4001:c01::67"),
        ("postgres://app:f4Kx93q@db.internal/x", "password_in_url", "f4Kx93q"),
        (f'API_KEY = "{VALUE}"', "assigned", VALUE),
        (f'{{"client_secret" : "{VALUE}"}}', "assigned", VALUE),
        ("db_password: 'kX9#pq2w'", "assigned", "kX9#pq2w"),
        (f"  deploy_token: {VALUE}\n", "bare", VALUE),
        (f'"Authorization: Bearer {VALUE}"', "authorization", VALUE),
    ],
)
def test_a_secret_is_found_by_what_stands_around_it(text: str, kind: str, secret: str) -> None:
    (found,) = secrets.find(text)
    assert (found.kind, text[found.start : found.end]) == (kind, secret)


@pytest.mark.parametrize("around", ["HF_TOKEN={}\n", "Authorization: Bearer {}", "https://x:{}@host.net/a"])
def test_a_providers_token_is_found_where_its_name_told_it_but_its_letters_did_not(around: str) -> None:
    token = "hf_secret" + drawn(28, string.ascii_letters)  # no digit, and a word
    text = around.format(token)
    (found,) = secrets.find(text)
    assert (found.kind, text[found.start : found.end]) == ("huggingface_token", token)


@pytest.mark.parametrize(
    "text",
    [
        "you@example.com, me@mail.example.org, bot@example, 12+x@users.noreply.github.com, no-reply@acme.com",
        "git@github.com:owner/name.git, ssh://git@host.net/x",
        "y = x@w.to(device); z = a@b.T; @app.route('/')",
        "127.0.0.1 0.0.0.0 10.1.2.3 192.168.1.1 172.16.0.9 192.0.2.7 203.0.113.9 8.8.8.8 255.255.255.0",
        "version 81.2.69.142, v81.2.69.142, pkg==81.2.69.142, foo-81.2.69.142, 1.3.6.1.4.1.31, 81.2.69.142-a",
        '// 20.7.2.6 swap\n__version__ = "3.5.0.1"',
        "::1 fe80::1 2001:db8::1 std::dec 12:30:45 SUBSTRING(2022::CHAR)",
        "https://user:password@host.com https://u:${PASS}@h.com https://u:<pw>@h.com",
        'password = "your-password-1"; token = "{{ token_1 }}"; api_key = os.environ["KEY_1234567890"]',
        'token_url = "abc123def456ghi789"; token = "keyword.operator.js2"; secret = "T_OPEN_TAG"',
        "token: str = compute_next_token_of(stream2, 3)",
        "AKIAIOSFODNN7EXAMPLE ghp_" + "x" * 36 + " REDACTED_GITHUB_TOKEN_1a2b3c",
        "-----BEGIN PUBLIC KEY-----\n" + KEY + "\n-----END PUBLIC KEY-----",
        '"-----BEGIN RSA PRIVATE KEY-----" in text or "-----END RSA PRIVATE KEY-----" in text',
    ],
)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert secrets.find(text) == []


@pytest.mark.parametrize("join", ["\n", '\\n" +\n  "', "\\n", "\n# "])
def test_no_line_of_a_private_key_is_left_and_what_is_around_the_lines_stays(join: str) -> None:
    name = "RSA PRIVATE KEY"
    lines = [f"-----BEGIN {name}-----", *KEY.split("\n"), f"-----END {name}-----"]
    clean, found = redact(join.join(lines), "r", b"")
    assert len(found) == len(lines) - 2 and {one.kind for one in found} == {"private_key"}
    assert clean == join.join([lines[0], *(one.placeholder for one in found), lines[-1]])


@given(st.lists(st.sampled_from([*TOKENS.values(), "a@b.org", "81.2.69.142", "ü", " ", "\n", "'", "x = "])))
def test_nothing_is_found_in_a_text_without_its_secrets_and_spans_say_where_they_stood(
    parts: list[str],
) -> None:
    text = " ".join(parts)
    clean, found = redact(text, "r", b"")
    assert secrets.find(clean) == []
    for one in reversed(found):
        text = text[: one.start] + one.placeholder + text[one.end :]
    assert text == clean


@pytest.mark.parametrize(
    "part",
    ["a@", "token=", "eyJ", "://a:", "password: '", "1.", "2a00:", "-----BEGIN RSA PRIVATE KEY-----\n"],
)
def test_a_line_of_nothing_but_beginnings_comes_to_an_end(part: str) -> None:
    assert len(secrets.find(part * (100_000 // len(part)))) < 10
    assert len(secrets.find(part + "a" * 1_000_000)) < 2


def test_the_examples_of_the_docs() -> None:
    assert doctest.testmod(secrets).failed == 0
