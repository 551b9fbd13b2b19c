"""Users follow the links of their mail, and the API shows the result."""

from contextlib import closing
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from oneself.database import sqlite_driver
from tests.browser.conftest import PASSWORD

NEW_PASSWORD = "Copper lantern 92 estuary"

#: For each text: its contrast with the background (WCAG 2.2, "contrast ratio").
CONTRASTS = """
() => {
  const channels = (color) => color.match(/[0-9.]+/g).map(Number);
  const linear = (value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  };
  const luminance = (color) => {
    const [red, green, blue] = color.map(linear);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const over = ([red, green, blue, alpha = 1], ground) =>
    [red, green, blue].map((part, index) => part * alpha + ground[index] * (1 - alpha));
  const behind = (element) => {
    if (element === null) return [255, 255, 255];
    return over(channels(getComputedStyle(element).backgroundColor), behind(element.parentElement));
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = {};
  while (texts.nextNode()) {
    const text = texts.currentNode.data.trim();
    const element = texts.currentNode.parentElement;
    if (!text || !element.checkVisibility()) continue;
    const ground = behind(element);
    const color = over(channels(getComputedStyle(element).color), ground);
    const [one, other] = [color, ground].map(luminance);
    found[text] = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  }
  return found;
}
"""
OUTLINE = "() => getComputedStyle(document.activeElement).outlineStyle"
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def user(sign_up, service):
    return sign_up(service)


def _verify(user):
    """Verify the address through the API."""
    assert user.ask("POST", "/api/v1/me/verify-email").status == 200
    user.open_mail()
    link = user.page.get_by_role("link").get_attribute("href")
    [secret] = parse_qs(urlsplit(link).query)["secret"]
    confirmed = user.ask("POST", "/api/v1/me/verify-email/confirm", {"secret": secret})
    assert confirmed.status == 200, confirmed


def _expire(service, email):
    """Expire all one-time secrets of a user."""
    with closing(sqlite_driver().connect(service.data / "oneself.sqlite3")) as database:
        updated = database.execute(
            "UPDATE one_time_secret SET expires_at = '2026-01-01 00:00:00.000000'"
            " WHERE user_id = (SELECT id FROM user WHERE email = ?)",
            (email,),
        )
        database.commit()
        assert updated.rowcount


def test_address_is_verified(user):
    """EM-11: by the button on the page, and not by opening the link."""
    assert user.profile()["email_verified"] is False
    assert user.ask("POST", "/api/v1/me/verify-email").status == 200
    assert user.open_mail() == "Verify your email address"
    user.screenshot("mail-verify-email")
    user.follow_link()
    for _ in range(3):
        assert user.heading == "Verify your email address"
        assert user.email in user.page.get_by_role("main").inner_text()
        assert user.profile()["email_verified"] is False
        user.page.reload()
    user.screenshot("verify-email")
    link = user.page.url
    user.press("Verify my email address")
    assert user.heading == "Your email address is verified"
    assert user.page.url == f"{user.service.url}/verify-email"
    user.screenshot("verify-email-done")
    assert user.profile()["email_verified"] is True
    user.page.goto(link)
    assert user.heading == "This link was already used"
    user.screenshot("verify-email-used")


def test_email_change_by_a_client_is_made_and_undone(user):
    """EM-02: the link in the notice restores the old address and asks for a new password."""
    former, new = user.email, f"new.{user.email}"
    started = user.ask("POST", "/resources/me/email/change", {"email": new}).json()
    query = urlencode({"identity": started["identityId"], "secret": started["secret"]})
    user.page.goto(f"{user.service.url}/change-email?{query}")
    assert user.heading == "Change your email address"
    user.screenshot("change-email")
    user.press("Use this address")
    assert user.heading == "Your email address was changed"
    assert "log in with your previous address" in user.page.get_by_role("main").inner_text()
    user.screenshot("change-email-done")
    changed = user.profile()
    assert (changed["email"], changed["email_verified"]) == (new, False)
    assert user.log_in(former, PASSWORD) == 200

    assert user.open_mail(new) == "Verify your email address"
    user.screenshot("mail-verify-changed-email")
    user.follow_link("Verify my email address")
    user.screenshot("verify-changed-email")
    user.press("Verify my email address")
    assert user.profile()["email_verified"] is True

    user.open_mail(former)
    user.screenshot("mail-undo-email-change")
    user.follow_link()
    assert user.heading == "Undo the change of your email address"
    user.screenshot("undo-email-change")
    assert user.profile()["email"] == new
    user.press("Undo the change")
    assert user.heading == "Set a new password"
    assert user.page.url == f"{user.service.url}/undo-email-change"
    user.screenshot("undo-email-change-done")
    assert user.ask("GET", "/v1/me").status == 401
    assert user.log_in(former, PASSWORD) == 401
    user.page.get_by_label("New password").fill(NEW_PASSWORD)
    user.press("Set new password")
    assert user.heading == "Your new password is set"
    assert user.log_in(new, NEW_PASSWORD) == 401
    assert user.log_in(former, NEW_PASSWORD) == 200
    assert user.profile()["email"] == former


def test_address_is_released_by_its_reader(user):
    """EM-02, EM-11: from the mail, and from the page that would verify it."""
    new = f"new.{user.email}"
    for start in ("mail", "page"):
        started = user.ask("POST", "/resources/me/email/change", {"email": new}).json()
        proof = {"identityId": started["identityId"], "secret": started["secret"]}
        assert user.ask("POST", "/resources/me/email/validate", proof).status == 200
        assert user.open_mail(new) == "Verify your email address"
        if start == "mail":
            user.follow_link("This is not my account")
            assert user.heading == "Release your email address"
            user.screenshot("release-email")
        else:
            user.follow_link("Verify my email address")
        assert user.profile()["email"] == new
        user.press("This is not my account: release my address")
        assert user.heading == "Your email address is released"
        user.screenshot("release-email-done")
        assert user.profile()["email"] == user.email


def test_email_change_by_the_service_verifies_the_new_address(sign_up, mailing_service):
    """EM-02: the secret is in the mail to the new address, and nowhere else."""
    user = sign_up(mailing_service)
    new = f"new.{user.email}"
    started = user.ask("POST", "/resources/me/email/change", {"email": new})
    assert "secret" not in started.json()
    user.open_mail(new)
    user.screenshot("mail-change-email")
    user.follow_link("Confirm my new address")
    user.press("Use this address")
    assert user.heading == "Your email address was changed"
    changed = user.profile()
    assert (changed["email"], changed["email_verified"]) == (new, True)


def test_password_is_reset_with_the_keyboard_alone(user):
    """PW-12."""
    _verify(user)
    page = user.page
    page.goto(f"{user.service.url}/reset-password")
    assert user.heading == "Reset your password"
    user.screenshot("reset-request")
    page.keyboard.press("Tab")
    page.keyboard.type(user.email)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert user.heading == "Check your email"
    user.screenshot("reset-requested")

    assert user.open_mail() == "Reset your password"
    user.screenshot("mail-reset-password")
    user.follow_link()
    user.screenshot("reset-password")
    page.keyboard.press("Tab")
    page.keyboard.type("Password1")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.title().startswith("Error: Set a new password")
    assert "is not common or easy to guess" in page.get_by_role("alert").inner_text()
    user.screenshot("reset-password-weak")
    # The field has the focus already.
    page.keyboard.type(NEW_PASSWORD)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert user.heading == "Your new password is set"
    user.screenshot("reset-password-done")
    assert user.ask("GET", "/v1/me").status == 401
    assert user.log_in(user.email, PASSWORD) == 401
    assert user.log_in(user.email, NEW_PASSWORD) == 200


def test_expired_verification_link_is_replaced(user):
    """EM-05: by the button on its page."""
    assert user.ask("POST", "/api/v1/me/verify-email").status == 200
    _expire(user.service, user.email)
    user.open_mail()
    user.follow_link()
    assert user.heading == "This link has expired"
    user.screenshot("verify-email-expired")
    user.press("Send me a new link")
    assert user.heading == "Check your email"
    user.screenshot("verify-email-again")
    user.open_mail()
    user.follow_link()
    user.press("Verify my email address")
    assert user.profile()["email_verified"] is True


def test_expired_reset_link_shows_the_form_for_a_new_one(user):
    """EM-05."""
    _verify(user)
    body = {"email": user.email}
    assert user.ask("POST", "/v1/auth/password/forgot", body).status == 202
    user.open_mail()
    _expire(user.service, user.email)
    user.follow_link()
    assert user.heading == "This link has expired"
    user.screenshot("reset-password-expired")
    user.page.get_by_label("Email address").fill(user.email)
    user.press("Send reset link")
    user.open_mail()
    user.follow_link()
    user.page.get_by_label("New password").fill(NEW_PASSWORD)
    user.press("Set new password")
    assert user.log_in(user.email, NEW_PASSWORD) == 200


def test_user_with_a_german_locale_gets_german_mail_and_pages(user):
    """The browser prefers English."""
    assert user.ask("PATCH", "/api/v1/me", {"locale": "de-CH"}).status == 200
    assert user.ask("POST", "/api/v1/me/verify-email").status == 200
    assert user.open_mail() == "Bestätigen Sie Ihre E-Mail-Adresse"
    user.follow_link()
    assert user.heading == "Bestätigen Sie Ihre E-Mail-Adresse"
    user.screenshot("verify-email-german")
    user.press("E-Mail-Adresse bestätigen")
    assert user.heading == "Ihre E-Mail-Adresse ist bestätigt"

    body = {"email": user.email}
    assert user.ask("POST", "/v1/auth/password/forgot", body).status == 202
    user.open_mail()
    user.follow_link()
    user.page.get_by_label("Neues Passwort").fill("Passwort1")
    user.press("Passwort festlegen")
    assert user.page.title().startswith("Fehler: Neues Passwort festlegen")
    user.screenshot("reset-password-german")


def test_truncated_link_does_not_work(user):
    """Its page is the same for each purpose."""
    for path in ("verify-email", "change-email", "undo-email-change"):
        user.page.goto(f"{user.service.url}/{path}?secret=ots_0123")
        assert user.heading == "This link does not work"
    user.screenshot("link-cut-off")


def _assert_readable(page):
    """The page fits the screen, with the contrast and target size of WCAG 2.2, level AA."""
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) >= 3
    assert {text: ratio for text, ratio in contrasts.items() if ratio < 4.5} == {}
    assert page.evaluate(OVERFLOW) <= 0
    for target in page.locator("button:visible, .button, input:visible").all():
        assert target.bounding_box()["height"] >= 44
        target.focus()
        assert page.evaluate(OUTLINE) == "solid"


def test_pages_are_readable_on_a_small_phone(user):
    """In the light and the dark scheme."""
    page, url = user.page, user.service.url
    page.set_viewport_size({"width": 320, "height": 568})
    _verify(user)
    assert user.ask("POST", "/v1/auth/password/forgot", {"email": user.email}).status == 202
    user.open_mail()
    user.follow_link()
    _assert_readable(page)
    page.get_by_label("New password").fill("Password1")
    user.press("Set new password")
    _assert_readable(page)
    user.screenshot("reset-password-small")
    page.goto(f"{url}/undo-email-change?secret=ots_0123")
    _assert_readable(page)
    page.goto(f"{url}/reset-password")
    page.get_by_label("Email address").fill(user.email)
    user.press("Send reset link")
    _assert_readable(page)


def test_cross_site_form_post_is_rejected(user):
    """SE-09: even with the right secret."""
    assert user.ask("POST", "/api/v1/me/verify-email").status == 200
    user.open_mail()
    link = user.page.get_by_role("link").get_attribute("href")
    [secret] = parse_qs(urlsplit(link).query)["secret"]
    user.open_other_site(
        f'<form method="post" action="{user.service.url}/verify-email">'
        f'<input type="hidden" name="secret" value="{secret}"><button>Win a prize</button></form>'
    )
    user.press("Win a prize")
    assert user.heading == "This request came from another website"
    user.screenshot("cross-site")
    assert user.profile()["email_verified"] is False
    user.page.goto(link)
    user.press("Verify my email address")
    assert user.profile()["email_verified"] is True


def test_page_cannot_be_framed(user):
    """HT-15: not even by a page of the same origin."""
    page, url = user.page, user.service.url
    page.route(
        f"{url}/framing",
        lambda route: route.fulfill(
            body=f'<iframe src="{url}/reset-password"></iframe>', content_type="text/html"
        ),
    )
    with page.expect_response(f"{url}/reset-password") as framed:
        page.goto(f"{url}/framing")
    assert framed.value.status == 200
    assert page.frame_locator("iframe").get_by_role("button").count() == 0
