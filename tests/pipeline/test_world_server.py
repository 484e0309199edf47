"""The synthetic web over HTTP: content types, missing pages, redirects."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import pytest

from datagen.web.synthetic.pages import SyntheticWeb
from datagen.web.synthetic.server import running

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def served():
    web = SyntheticWeb(seed=9, pages=300)
    with running(web) as address:
        yield web, urlsplit(address).netloc


def ask(netloc, path, method="GET", host=None):
    connection = http.client.HTTPConnection(netloc, timeout=10)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def test_a_page_is_served_under_its_host_and_under_one_address_for_all(served):
    web, netloc = served
    url = web.page_url(5)
    parts = urlsplit(url)

    by_path = ask(netloc, f"/{parts.netloc}{parts.path}")
    by_host = ask(netloc, parts.path, host=parts.netloc)

    assert by_path[0] == by_host[0] == 200
    assert by_path[1]["Content-Type"] == "text/html; charset=utf-8"
    assert by_path[2] == by_host[2] == web.render(url)[0]


def test_a_head_request_has_no_body(served):
    web, netloc = served
    status, headers, body = ask(netloc, f"/{web.page_url(5).removeprefix('https://')}", method="HEAD")

    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 500


def test_a_missing_page_is_404_and_an_old_address_301(served):
    web, netloc = served
    url = web.page_url(5)
    wrong = f"/www.lexicora.example/{urlsplit(url).path.split('/')[1]}/other-words-{url.rsplit('-', 1)[1]}"

    assert ask(netloc, "/www.lexicora.example/nothing/here")[0] == 404
    status, headers, _ = ask(netloc, wrong)
    assert (status, headers["Location"]) == (301, f"/{url.removeprefix('https://')}")


def test_the_front_page_opens_every_family_and_links_can_be_made_local(served):
    web, netloc = served
    status, _, body = ask(netloc, "/")
    _, _, local = ask(netloc, f"/{web.page_url(0).removeprefix('https://')}?links=local")

    assert status == 200
    assert body.count(b"<li>") == sum(f.slots > 0 for f in web.families)
    assert b'href="https://' not in local
