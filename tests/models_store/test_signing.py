"""Signatures of webhooks, checked with the public library; and what counts as a secret."""

from __future__ import annotations

import base64
import re
import subprocess
import time
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from models_store.errors import ConfigurationError
from models_store.signing import keys_of, sign
from tests.fixtures.receiver import SECRET
from tests.fixtures.servers import ROOT

BODY = '{"type":"job.succeeded","note":"é\\u0000"}'.encode()


def secret_of(size: int) -> str:
    return "whsec_" + base64.b64encode(b"k" * size).decode()


def headers(secret: str = SECRET) -> dict[str, str]:
    now = int(time.time())
    signature = sign(keys_of(secret), "msg_1", now, BODY)
    return {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": signature}


def test_the_public_library_finds_the_signature_right() -> None:
    assert Webhook(SECRET).verify(BODY, headers())["type"] == "job.succeeded"


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (BODY + b" ", {}),
        (BODY, {"webhook-id": "msg_2"}),
        (BODY, {"webhook-timestamp": str(int(time.time()) - 60)}),
        (BODY, headers(secret_of(32))),
    ],
)
def test_the_public_library_refuses_what_was_changed(body: bytes, changed: dict[str, str]) -> None:
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, headers() | changed)


def test_the_check_in_the_documentation() -> None:
    text = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "def verify" in block]
    names: dict[str, Any] = {}
    exec(code, names)

    assert names["verify"](BODY, headers(), SECRET)["type"] == "job.succeeded"
    for body, changed in [(BODY + b" ", {}), (BODY, {"webhook-timestamp": "1700000000"})]:
        with pytest.raises(ValueError, match=r"signature|old"):
            names["verify"](body, headers() | changed, SECRET)


def test_the_example_of_the_specification() -> None:
    # From the specification's own test vectors, which its libraries share.
    signature = sign(
        keys_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )

    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_a_secret_is_replaced_a_receiver_may_know_either() -> None:
    new, old = secret_of(32), SECRET
    sent = headers(f"{new} {old}")

    for known in (new, old):
        assert Webhook(known).verify(BODY, sent)["type"] == "job.succeeded"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_of(33)).verify(BODY, sent)


@pytest.mark.parametrize("size", [24, 64])
def test_secrets_of_a_fitting_length(size: int) -> None:
    assert keys_of(secret_of(size)) == (b"k" * size,)


def test_the_command_that_the_error_names_makes_a_secret() -> None:
    with pytest.raises(ConfigurationError) as refused:
        keys_of("hunter2")
    command = refused.value.message.partition("make one with: ")[2]

    made = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout.strip()

    assert [len(key) for key in keys_of(made)] == [32]


@pytest.mark.parametrize(
    "secret",
    [
        "hunter2",
        secret_of(32).removeprefix("whsec_"),
        secret_of(23),
        secret_of(65),
        secret_of(32)[:-2],  # the end is missing
        "whsec_" + "hunter2!" * 8,
        "whsec_" + "ä" * 40,
        "whsec_",
        "",
        f"{secret_of(32)} hunter2",
    ],
)
def test_what_is_no_secret_is_refused_without_being_told(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="THAWLINE_WEBHOOK_SECRET") as refused:
        keys_of(secret)

    assert "hunter2" not in refused.value.message
