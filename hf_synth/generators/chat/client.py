"""`Client`: the Hub's inference client on connections that are checked before anything is sent."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import httpx2
from huggingface_hub import AsyncInferenceClient, constants, get_token, is_offline_mode
from pydantic import SecretStr

from ...errors import InputError, LeavesError
from ...version import __version__
from .schema import closed


class Client(AsyncInferenceClient):
    """The Hub's client on connections of our own, with JSON schemas in OpenAI's words.

    Both methods are private in `huggingface_hub` 2.4; tests notice when they are called otherwise.

    Args:
        session: The connections.
        **settings: Those of `AsyncInferenceClient`.
    """

    def __init__(self, session: httpx2.AsyncClient, **settings: Any):
        super().__init__(**settings)
        self.session = session

    async def _get_async_client(self) -> httpx2.AsyncClient:
        return self.session

    async def _inner_post(self, request_parameters: Any, *, stream: bool = False) -> Any:
        body = request_parameters.json
        form = body.get("response_format", {})
        # Given a URL, the Hub's client translates a schema into TGI's dialect, which nobody else enforces.
        if form.get("type") == "json_object" and "value" in form:
            schema = form["value"]
            described = {"name": "answer", "schema": schema, **({"strict": True} if closed(schema) else {})}
            body["response_format"] = {"type": "json_schema", "json_schema": described}
        return await super()._inner_post(request_parameters, stream=stream)


def connect(
    base_url: str | None,
    provider: str | None,
    key: SecretStr | None,
    *,
    local: bool,
    connections: int,
    timeout: float,
    received: Callable[[httpx2.Response], Any],
) -> Client:
    """Return a client for an address or a provider.

    The Hub's own connections refuse even this machine when `HF_HUB_OFFLINE` is set, follow redirects to other hosts,
    obey proxy settings, and keep 20 connections only.

    Args:
        base_url: Address; `None` for a provider.
        provider: Provider; `None` lets the Hub choose.
        key: Sent as bearer token. Where there is none, the word `none` is sent, else the client sends the Hub's token.
        local: The address is on this machine.
        connections: Requests at once.
        timeout: Seconds to wait for an answer.
        received: Called with every response before it is read.
    """
    # Else the first request also asks the Hub for a list of coding agents, to report which of them runs us.
    constants.HF_HUB_DISABLE_TELEMETRY = True
    session = httpx2.AsyncClient(
        limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
        trust_env=not local,  # a proxy would carry elsewhere what is meant for this machine
        event_hooks={"response": [received]},
    )
    return Client(
        session,
        **({"base_url": base_url} if base_url else {"provider": provider}),
        api_key=key.get_secret_value() if key else "none",
        timeout=httpx2.Timeout(timeout, connect=min(timeout, 10.0)),
        headers={"user-agent": f"hf_synth/{__version__}"},
    )


def place(base_url: str | None, provider: str | None) -> tuple[str, bool]:
    """Return the host that will be asked, and whether it is this machine."""
    if base_url is None:
        return (f"the Inference Provider {provider}" if provider else "Inference Providers"), False
    if provider is not None:
        raise InputError(f"give either `base_url` or `provider`, not both; got {provider!r} as provider")
    try:
        url = httpx2.URL(base_url)
    except httpx2.InvalidURL:
        url = httpx2.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
        # The value is not shown: it may hold a key.
        raise InputError("`base_url` must be http(s)://host[:port][/path], without user, password or query")
    try:
        return url.host, ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return url.host, url.host == "localhost"


def check_remote(host: str, private: bool) -> None:
    """Refuse a host that is not this machine where nothing may leave it."""
    if private:
        raise LeavesError(f"with `private` nothing may leave this machine, and {host} is not on it; use localhost")
    if is_offline_mode():
        raise InputError(f"HF_HUB_OFFLINE is set, and {host} is not on this machine; unset it or use localhost")


def hub_token() -> SecretStr:
    """Return the Hub's token.

    Raises:
        InputError: If there is none.
    """
    token = get_token()
    if token is None:
        raise InputError("Inference Providers need a Hugging Face token: set HF_TOKEN or run `hf auth login`")
    return SecretStr(token)
