"""Requests made from the OpenAPI document, valid and not: answers are as it says, and never a server's error."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        ("POST", "/encode", POSITIVE),
        ("POST", "/encode", NEGATIVE),
        ("GET", "/model", POSITIVE),
        ("GET", "/readyz", POSITIVE),
        ("GET", "/healthz", POSITIVE),
        ("GET", "/metrics", POSITIVE),
    ],
)
def test_the_service_keeps_to_its_document(server, method, path, mode):
    operation = schemathesis.openapi.from_url(f"{server.url}/openapi.json")[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=80 if method == "POST" else 5,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate()

    check()


def test_every_route_is_in_the_document(server):
    document = server.get("/openapi.json").json()
    assert sorted(document["paths"]) == ["/encode", "/healthz", "/metrics", "/model", "/readyz"]
    assert server.get("/docs").status_code == 200
