"""What passes between a visitor and a Service, and what never does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.http.preview_headers import CROSS_ORIGIN, SANDBOX, rewritten_location, rewritten_page, sent_back, sent_on, value_of

INNER, OUTER = "/api/v1/namespaces/shop/services/web:80/proxy", "/hg/v1/previews/r1.production/web/token"


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "Cookie", "Impersonate-User", "Impersonate-Extra-Scopes", "X-Remote-User", "X-Forwarded-For",
        "Forwarded", "Proxy-Authorization", "Host", "Referer", "Connection", "TE", "Upgrade", "X-Of-This-Hop",
    ],
)  # fmt: skip
def test_what_means_something_to_us_or_to_the_api_server_is_not_sent_on(name: str) -> None:
    given = [("Connection", "keep-alive, X-Of-This-Hop"), (name, "system:admin"), ("X-Team", "blue")]
    names = {one.lower() for one, _ in sent_on(given, {})}
    assert name.lower() not in names
    assert "x-team" in names


def test_the_service_learns_where_it_is_seen_and_answers_in_plain() -> None:
    sent = sent_on([("Accept", "text/html"), ("Accept-Encoding", "br")], {"X-Forwarded-Prefix": OUTER})
    assert sent == (("Accept", "text/html"), ("Accept-Encoding", "identity"), ("X-Forwarded-Prefix", OUTER))
    assert value_of(sent_on([], {}), "accept") == "*/*"


@pytest.mark.parametrize(
    "name",
    [
        "Set-Cookie", "Service-Worker-Allowed", "Clear-Site-Data", "Strict-Transport-Security", "NEL", "Report-To",
        "Reporting-Endpoints", "Alt-Svc", "Audit-Id", "X-Kubernetes-Pf-Flowschema-Uid", "TE",
    ],
)  # fmt: skip
def test_what_would_mean_something_for_headgates_own_host_is_not_sent_back(name: str) -> None:
    names = {one.lower() for one, _ in sent_back([(name, "x"), ("X-Version", "2")], is_rewritten=False)}
    ours = {"content-security-policy", *map(str.lower, CROSS_ORIGIN), "referrer-policy", "x-robots-tag"}
    assert names == {"x-version", *ours}


def test_a_page_is_kept_in_a_sandbox_whatever_it_says_itself() -> None:
    given = [("Content-Security-Policy", "sandbox allow-same-origin"), ("Access-Control-Allow-Origin", "https://shop.example")]
    sent = sent_back(given, is_rewritten=False)
    policies = [value for name, value in sent if name.lower() == "content-security-policy"]
    assert policies == ["sandbox allow-same-origin", SANDBOX]  # A browser takes what all of them allow.
    assert "allow-same-origin" not in SANDBOX
    assert [value for name, value in sent if name.lower() == "access-control-allow-origin"] == ["*"]


def test_a_services_own_policy_for_referrers_stays_and_a_changed_page_has_no_length() -> None:
    given = [("Referrer-Policy", "no-referrer"), ("Content-Length", "3")]
    assert value_of(sent_back(given, is_rewritten=False), "referrer-policy") == "no-referrer"
    assert value_of(sent_back(given, is_rewritten=False), "content-length") == "3"
    assert value_of(sent_back(given, is_rewritten=True), "content-length") == ""


@pytest.mark.parametrize(
    ("location", "told"),
    [
        (f"{INNER}/login?next=%2F", f"{OUTER}/login?next=%2F"),
        (f"https://10.0.0.1:6443{INNER}/login", f"{OUTER}/login"),
        (INNER, f"{OUTER}/"),
        ("/login", f"{OUTER}/login"),
        ("login", "login"),
        ("https://accounts.example.com/", "https://accounts.example.com/"),
        ("//accounts.example.com/", "//accounts.example.com/"),
        (f"{INNER}-of-another/x", f"{OUTER}{INNER}-of-another/x"),
    ],
)
def test_redirects_stay_inside_of_the_preview(location: str, told: str) -> None:
    assert rewritten_location(location, INNER, OUTER) == told


@pytest.mark.parametrize("size", [1, 7, 30, 1000])
async def test_links_of_a_page_lead_to_the_preview_however_it_comes_in_pieces(size: int) -> None:
    page = f'<a href="{INNER}/a">a</a><img src="{INNER}/b.png">{INNER[:9]}'

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(page), size):
            yield page[start : start + size].encode()

    told = b"".join([chunk async for chunk in rewritten_page(pieces(), INNER, OUTER)]).decode()
    assert told == page.replace(INNER, OUTER)
