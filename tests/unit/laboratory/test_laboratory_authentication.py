"""Tokens: demanded of one service only, as Bearer or in the way of the Rubin platform."""

import pytest
import pyvo
import requests
from laboratory_sky import TOKEN
from pyvo.auth import AuthSession, CredentialStore

from laboratory import Laboratory


@pytest.mark.parametrize(
    ("headers", "credentials", "status"),
    [
        ({}, None, 401),
        ({"Authorization": f"Bearer {TOKEN}"}, None, 200),
        ({"Authorization": f"bearer {TOKEN}"}, None, 200),
        ({"Authorization": "Bearer wrong"}, None, 403),
        ({"Authorization": "Bearer"}, None, 403),
        ({"Authorization": f"Digest {TOKEN}"}, None, 403),
        ({"Authorization": "Basic !!"}, None, 403),
        ({}, ("x-oauth-basic", TOKEN), 200),
        ({}, (TOKEN, "x-oauth-basic"), 200),
        ({}, ("x-oauth-basic", "wrong"), 403),
        ({}, ("somebody", TOKEN), 403),
    ],
)
def test_token(
    laboratory: Laboratory,
    headers: dict[str, str],
    credentials: tuple[str, str] | None,
    status: int,
) -> None:
    address = laboratory.url("rubin") + "/tap/availability"
    reply = requests.get(address, headers=headers, auth=credentials, timeout=10)
    assert reply.status_code == status
    assert ("www-authenticate" in reply.headers) == (status == 401)
    assert TOKEN not in reply.text


def test_other_services_need_none(laboratory: Laboratory) -> None:
    address = laboratory.url("nsc") + "/tap/availability"
    assert requests.get(address, timeout=10).status_code == 200


def test_as_the_platform_documents_it(laboratory: Laboratory) -> None:
    credentials = CredentialStore()
    credentials.set_password("x-oauth-basic", TOKEN)
    address = laboratory.url("rubin") + "/tap"
    session = AuthSession()
    session.credentials.set("ivo://ivoa.net/sso#BasicAA", _basic())
    session.add_security_method_for_url(address, "ivo://ivoa.net/sso#BasicAA")
    found = pyvo.dal.TAPQuery(address, "SELECT objectId FROM dp1.Object", session=session).execute()
    assert len(found) == 5


def _basic() -> requests.Session:
    session = requests.Session()
    session.auth = ("x-oauth-basic", TOKEN)
    return session


def test_log_and_faults_work_without_token_and_name_none(laboratory: Laboratory) -> None:
    address = laboratory.url("rubin") + "/tap/availability"
    requests.get(address, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
    assert TOKEN not in str(laboratory.log())
