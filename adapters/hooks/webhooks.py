"""Performs the calls of `runWebhook` steps: renders, calls, and says whether the call was taken.

A 2xx answer is success. Anything else is a failed contact, which the step's `retries` repeat; the engine waits in
between, and counts the attempts in the journal, so that a restart neither forgets nor adds one. The address that a
called side answers to carries a token for exactly this step (`engine.gates.sign_callback`). Messages name the called
host and nothing else of the request, because paths, headers and bodies may hold secrets.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from adapters.hooks.destinations import DestinationForbidden, Destinations
from adapters.hooks.templates import (
    TemplateError,
    escape_json,
    render,
    render_address,
    rollout_variables,
    templates_of,
    variables_in,
)
from adapters.leadership import UNDISPUTED, Leadership
from adapters.proxies import ProxyUnusable, proxy_of_environment
from adapters.secrets import Secrets, SecretUnreadable
from adapters.unanswered import status_words, why_unanswered
from engine.clock import Clock
from engine.errors import ActionError, Rejected, Retryable
from engine.events import ActionSucceeded
from engine.gates import sign_callback, step_of
from engine.model import Action, RolloutSpec, Snapshot, Webhook

CONTACT_SECONDS = 30.0
"""How long one contact may take, from the first byte out to the head of the answer."""
LONGEST_RETRY_AFTER_SECONDS = 300.0
SIGNATURE_HEADER = "X-Headgate-Signature"
"""`t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<body>">`."""
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class _Call:
    """A rendered webhook. Nothing of it is shown but `host`."""

    method: str
    url: URL = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    host: str


class WebhookCaller:
    """Implements `engine.ports.Actuator` for CALL_WEBHOOK."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        secrets: Secrets,
        public_url: str | None,
        clock: Clock,
        destinations: Destinations | None = None,
        leadership: Leadership = UNDISPUTED,
    ) -> None:
        """`destinations`: what is refused of the addresses as they are written; what they lead to is the session's to refuse."""
        self._leadership = leadership
        self._session = session
        self._destinations = destinations
        self._clock = clock
        self._secrets = secrets
        self._public_url = public_url

    async def perform(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> ActionSucceeded:
        """Raises `Retryable` while the step has retries left, else `Rejected`."""
        gate_id = str(action.args["gate"])
        step = step_of(spec.plan, gate_id)
        assert isinstance(step, Webhook)
        try:
            call = await self._render(step, spec, snapshot, gate_id)
        except (TemplateError, SecretUnreadable) as error:
            raise Rejected(f"webhook {step.name}: {error}") from error
        self._check_destination(step, call)
        status = await self._contact(step, call, action.attempt)
        waits = "; it calls back with its verdict" if step.callback else ""
        return ActionSucceeded(action.number, note=f"webhook {step.name}: {call.host} answered {status}{waits}")

    # --- what is sent --------------------------------------------------------------------------------------------------

    async def _render(self, step: Webhook, spec: RolloutSpec, snapshot: Snapshot, gate_id: str) -> _Call:
        used = frozenset[str]().union(*map(variables_in, templates_of(step)))
        variables = rollout_variables(spec, snapshot, step.context)
        variables |= self._callback(step, spec, gate_id, used)
        secrets = {f"secrets.{name}": await self._secrets.read(name) for name in self._named(used)}
        variables |= secrets
        headers = CIMultiDict({"Idempotency-Key": f"{quote(spec.id)}/{gate_id}", "User-Agent": "headgate"})
        for header in step.headers:
            headers[_header_name(step, header.key)] = _header_value(step, header.key, render(header.value, variables))
        body = self._render_body(step, variables, headers)
        if step.signing_secret:
            headers[SIGNATURE_HEADER] = await self._sign(step, body or b"")
        url = _address(step, render_address(step.url, variables))
        host = str(url.origin())
        # Names of hosts have no case, so that of the secret is not kept.
        if any(value.casefold() in f"{host} {url.host}".casefold() for value in secrets.values()):
            host = "the called side"
        return _Call(step.method, url, headers, body, host)

    async def _sign(self, step: Webhook, body: bytes) -> str:
        """The time is signed along, so that a request that somebody has recorded is not taken again later."""
        if step.signing_secret not in self._secrets.names:
            raise TemplateError(
                f"its signingSecret {step.signing_secret} is not one of the daemon's secrets; add it to secrets in the settings"
            )
        key = (await self._secrets.read(step.signing_secret)).encode()
        seconds = str(int(self._clock.now().timestamp()))
        digest = hmac.new(key, seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
        return f"t={seconds},v1={digest}"

    def _named(self, used: frozenset[str]) -> list[str]:
        """The secrets that are used and known; an unknown one is the renderer's to complain about."""
        names = [name.partition(".")[2] for name in sorted(used) if name.startswith("secrets.")]
        return [name for name in names if name in self._secrets.names]

    def _callback(self, step: Webhook, spec: RolloutSpec, gate_id: str, used: frozenset[str]) -> dict[str, str]:
        if not step.callback and "armory.callbackUri" not in used:
            return {}
        if self._public_url is None:
            raise TemplateError(
                "the called side is to call back, but nobody told the daemon how it is reached; set publicUrl in its "
                "settings, or disableCallback on the webhook"
            )
        rollout, token = quote(spec.id, safe=""), sign_callback(spec, gate_id)
        return {"armory.callbackUri": f"{self._public_url}/v1/callbacks/{rollout}/{token}"}

    def _render_body(self, step: Webhook, variables: Mapping[str, str], headers: CIMultiDict[str]) -> bytes | None:
        if step.body is None:
            return None
        kind = headers.setdefault("Content-Type", "application/json")
        return render(step.body, variables, escape=escape_json if "json" in kind.lower() else None).encode()

    def _check_destination(self, step: Webhook, call: _Call) -> None:
        if self._destinations is None:
            return
        try:
            self._destinations.check_host(call.url.host or "", call.url.port or 0)
        except DestinationForbidden as error:
            raise _forbidden(step, call, error) from error

    # --- the contact ---------------------------------------------------------------------------------------------------

    async def _contact(self, step: Webhook, call: _Call, attempt: int) -> int:
        self._leadership.require()
        limit = aiohttp.ClientTimeout(total=min(CONTACT_SECONDS, step.timeout_seconds))
        try:
            async with self._session.request(
                call.method,
                call.url,
                headers=call.headers,
                data=call.body,
                timeout=limit,
                allow_redirects=False,
                proxy=proxy_of_environment(call.url),
            ) as response:
                if 200 <= response.status < 300:
                    return response.status
                sentence, wait = _describe_answer(response), _retry_after(response)
        except TimeoutError:
            sentence, wait = f"gave no answer within {limit.total:g} s", None
        except ProxyUnusable as error:
            sentence, wait = f"was not called: {error}", None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(forbidden := getattr(error, "os_error", None), DestinationForbidden):
                raise _forbidden(step, call, forbidden) from error
            sentence, wait = why_unanswered(error), None
        raise _failure(step, f"webhook {step.name}: {call.host} {sentence}", attempt, wait)


def _failure(step: Webhook, message: str, attempt: int, wait: float | None) -> ActionError:
    if attempt <= step.retries:
        return Retryable(f"{message} (contact {attempt} of {step.retries + 1})", wait)
    attempts = f" ({attempt} contacts)" if attempt > 1 else ""
    return Rejected(message + attempts)


def _forbidden(step: Webhook, call: _Call, error: DestinationForbidden) -> Rejected:
    """Not tried again: what is forbidden stays so until a person changes it."""
    return Rejected(f"webhook {step.name}: {call.host} {error.why}")


def _header_name(step: Webhook, name: str) -> str:
    if _TOKEN.fullmatch(name) is None:
        raise Rejected(f"webhook {step.name}: a header's name holds a character that HTTP does not allow")
    return name


def _header_value(step: Webhook, name: str, value: str) -> str:
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
        raise Rejected(f"webhook {step.name}: the value of header {name} holds a line break or control character")
    return value


def _address(step: Webhook, text: str) -> URL:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host or any(ord(letter) <= 32 for letter in text):
        raise Rejected(
            f"webhook {step.name}: its uriTemplate gives no address; expected https://host/path without blanks"
        )
    return url


def _describe_answer(response: aiohttp.ClientResponse) -> str:
    if 300 <= response.status < 400:
        return f"answered {response.status}, a redirect, which is not followed; name the final address"
    return f"answered {status_words(response.status)}"


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    seconds = response.headers.get("Retry-After", "")
    return min(float(seconds), LONGEST_RETRY_AFTER_SECONDS) if seconds.isascii() and seconds.isdecimal() else None
