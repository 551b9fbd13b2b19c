"""What people go through, from their mail over the pages to what the API says after it."""

from contextlib import closing
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from oneself.database import sqlite_driver
from tests.browser.conftest import PASSWORD

NEW_PASSWORD = "Copper lantern 92 estuary"

#: For each text: the contrast with what is behind it (WCAG 2.2, "contrast ratio").
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
def traveller(traveller_to, service):
    return traveller_to(service)


def _verify(traveller):
    """Have the address verified, by the API alone."""
    assert traveller.ask("POST", "/api/v1/me/verify-email").status == 200
    traveller.open_mail()
    link = traveller.page.get_by_role("link").get_attribute("href")
    [secret] = parse_qs(urlsplit(link).query)["secret"]
    confirmed = traveller.ask("POST", "/api/v1/me/verify-email/confirm", {"secret": secret})
    assert confirmed.status == 200, confirmed


def _expire(service, email):
    """Let the time of each secret of a person be over."""
    with closing(sqlite_driver().connect(service.data / "oneself.sqlite3")) as database:
        changed = database.execute(
            "UPDATE one_time_secret SET expires_at = '2026-01-01 00:00:00.000000'"
            " WHERE user_id = (SELECT id FROM user WHERE email = ?)",
            (email,),
        )
        database.commit()
        assert changed.rowcount


def test_an_address_is_verified(traveller):
    """EM-11: by the button on the page, and not by the link."""
    assert traveller.profile()["email_verified"] is False
    assert traveller.ask("POST", "/api/v1/me/verify-email").status == 200
    assert traveller.open_mail() == "Verify your e-mail address"
    traveller.shoot("mail-verify-email")
    traveller.follow_link()
    for _ in range(3):
        assert traveller.heading == "Verify your address"
        assert traveller.email in traveller.page.get_by_role("main").inner_text()
        assert traveller.profile()["email_verified"] is False
        traveller.page.reload()
    traveller.shoot("verify-email")
    link = traveller.page.url
    traveller.press("Verify my address")
    assert traveller.heading == "Your address is verified"
    assert traveller.page.url == f"{traveller.service.url}/verify-email"
    traveller.shoot("verify-email-done")
    assert traveller.profile()["email_verified"] is True
    traveller.page.goto(link)
    assert traveller.heading == "This link was used already"
    traveller.shoot("verify-email-used")


def test_a_change_that_a_client_mails_is_made_and_undone(traveller):
    """EM-02: by the link of the notice the old address is back, and nobody is logged in."""
    former, new = traveller.email, f"new.{traveller.email}"
    started = traveller.ask("POST", "/resources/me/email/change", {"email": new}).json()
    query = urlencode({"identity": started["identityId"], "secret": started["secret"]})
    traveller.page.goto(f"{traveller.service.url}/change-email?{query}")
    assert traveller.heading == "Change your address"
    traveller.shoot("change-email")
    traveller.press("Use this address")
    assert traveller.heading == "Your address is changed"
    traveller.shoot("change-email-done")
    changed = traveller.profile()
    assert (changed["email"], changed["email_verified"]) == (new, False)

    traveller.open_mail(former)
    traveller.shoot("mail-undo-email-change")
    traveller.follow_link()
    assert traveller.heading == "Undo the change of your address"
    traveller.shoot("undo-email-change")
    assert traveller.profile()["email"] == new
    traveller.press("Undo the change")
    assert traveller.heading == "The change is undone"
    traveller.shoot("undo-email-change-done")
    assert traveller.ask("GET", "/v1/me").status == 401
    assert traveller.log_in(new, PASSWORD) == 401
    assert traveller.log_in(former, PASSWORD) == 200
    assert traveller.profile()["email"] == former

    traveller.page.get_by_role("link", name="Set a new password").click()
    assert traveller.page.get_by_label("E-mail address").is_visible()


def test_a_change_that_the_service_mails_verifies_the_new_address(traveller_to, mailing_service):
    """EM-02: the secret is in the mail to the new address, and nowhere else."""
    traveller = traveller_to(mailing_service)
    new = f"new.{traveller.email}"
    started = traveller.ask("POST", "/resources/me/email/change", {"email": new})
    assert "secret" not in started.json()
    traveller.open_mail(new)
    traveller.shoot("mail-change-email")
    traveller.follow_link()
    traveller.press("Use this address")
    assert traveller.heading == "Your address is changed"
    changed = traveller.profile()
    assert (changed["email"], changed["email_verified"]) == (new, True)


def test_a_forgotten_password_is_set_anew_by_the_keyboard_alone(traveller):
    """PW-12: from the form that asks for the address to logging in with the new one."""
    _verify(traveller)
    page = traveller.page
    page.goto(f"{traveller.service.url}/reset-password")
    assert traveller.heading == "Set a new password"
    traveller.shoot("reset-request")
    page.keyboard.press("Tab")
    page.keyboard.type(traveller.email)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert traveller.heading == "Check your mail"
    traveller.shoot("reset-requested")

    assert traveller.open_mail() == "Set a new password"
    traveller.shoot("mail-reset-password")
    traveller.follow_link()
    traveller.shoot("reset-password")
    page.keyboard.press("Tab")
    page.keyboard.type("Password1")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.title().startswith("Error: Set a new password")
    assert "is not common or easy to guess" in page.get_by_role("alert").inner_text()
    traveller.shoot("reset-password-weak")
    # The field has the focus already.
    page.keyboard.type(NEW_PASSWORD)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert traveller.heading == "Your new password is set"
    traveller.shoot("reset-password-done")
    assert traveller.ask("GET", "/v1/me").status == 401
    assert traveller.log_in(traveller.email, PASSWORD) == 401
    assert traveller.log_in(traveller.email, NEW_PASSWORD) == 200


def test_an_expired_link_is_replaced_by_a_new_one(traveller):
    """EM-05: by the button on the page that says so."""
    assert traveller.ask("POST", "/api/v1/me/verify-email").status == 200
    _expire(traveller.service, traveller.email)
    traveller.open_mail()
    traveller.follow_link()
    assert traveller.heading == "This link has expired"
    traveller.shoot("verify-email-expired")
    traveller.press("Send me a new link")
    assert traveller.heading == "Check your mail"
    traveller.shoot("verify-email-again")
    traveller.open_mail()
    traveller.follow_link()
    traveller.press("Verify my address")
    assert traveller.profile()["email_verified"] is True


def test_an_expired_link_to_a_new_password_asks_for_the_address(traveller):
    """EM-05: as the page does that anybody may open."""
    _verify(traveller)
    body = {"email": traveller.email}
    assert traveller.ask("POST", "/v1/auth/password/forgot", body).status == 202
    traveller.open_mail()
    _expire(traveller.service, traveller.email)
    traveller.follow_link()
    assert traveller.heading == "This link has expired"
    traveller.shoot("reset-password-expired")
    traveller.page.get_by_label("E-mail address").fill(traveller.email)
    traveller.press("Send a new link")
    traveller.open_mail()
    traveller.follow_link()
    traveller.page.get_by_label("New password").fill(NEW_PASSWORD)
    traveller.press("Set this password")
    assert traveller.log_in(traveller.email, NEW_PASSWORD) == 200


def test_a_person_who_reads_german_gets_german_mail_and_pages(traveller):
    """Whatever their browser prefers, which is English."""
    assert traveller.ask("PATCH", "/api/v1/me", {"locale": "de-CH"}).status == 200
    assert traveller.ask("POST", "/api/v1/me/verify-email").status == 200
    assert traveller.open_mail() == "Bestätigen Sie Ihre E-Mail-Adresse"
    traveller.follow_link()
    assert traveller.heading == "Ihre Adresse bestätigen"
    traveller.shoot("verify-email-german")
    traveller.press("Adresse bestätigen")
    assert traveller.heading == "Ihre Adresse ist bestätigt"

    body = {"email": traveller.email}
    assert traveller.ask("POST", "/v1/auth/password/forgot", body).status == 202
    traveller.open_mail()
    traveller.follow_link()
    traveller.page.get_by_label("Neues Passwort").fill("Passwort1")
    traveller.press("Passwort festlegen")
    assert traveller.page.title().startswith("Fehler: Neues Passwort festlegen")
    traveller.shoot("reset-password-german")


def test_a_link_that_was_cut_off_says_so(traveller):
    """With no word of what it might have been."""
    for path in ("verify-email", "change-email", "undo-email-change"):
        traveller.page.goto(f"{traveller.service.url}/{path}?secret=ots_0123")
        assert traveller.heading == "This link does not work"
    traveller.shoot("link-cut-off")


def _assert_readable(page):
    """On the narrowest phone there is, with the contrast and the targets of WCAG 2.2, level AA."""
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) >= 3
    assert {text: ratio for text, ratio in contrasts.items() if ratio < 4.5} == {}
    assert page.evaluate(OVERFLOW) <= 0
    for target in page.locator("button, .button, input:visible").all():
        assert target.bounding_box()["height"] >= 44
        target.focus()
        assert page.evaluate(OUTLINE) == "solid"


def test_the_pages_can_be_read_on_a_small_phone(traveller):
    """By night and by day, as the devices have it."""
    page, at = traveller.page, traveller.service.url
    page.set_viewport_size({"width": 320, "height": 568})
    _verify(traveller)
    assert (
        traveller.ask("POST", "/v1/auth/password/forgot", {"email": traveller.email}).status == 202
    )
    traveller.open_mail()
    traveller.follow_link()
    _assert_readable(page)
    page.get_by_label("New password").fill("Password1")
    traveller.press("Set this password")
    _assert_readable(page)
    traveller.shoot("reset-password-small")
    page.goto(f"{at}/undo-email-change?secret=ots_0123")
    _assert_readable(page)
    page.goto(f"{at}/reset-password")
    page.get_by_label("E-mail address").fill(traveller.email)
    traveller.press("Send the link")
    _assert_readable(page)


def test_another_site_cannot_press_the_button(traveller):
    """SE-09: not even one that knows the secret."""
    assert traveller.ask("POST", "/api/v1/me/verify-email").status == 200
    traveller.open_mail()
    link = traveller.page.get_by_role("link").get_attribute("href")
    [secret] = parse_qs(urlsplit(link).query)["secret"]
    traveller.visit_elsewhere(
        f'<form method="post" action="{traveller.service.url}/verify-email">'
        f'<input type="hidden" name="secret" value="{secret}"><button>Win a prize</button></form>'
    )
    traveller.press("Win a prize")
    assert traveller.heading == "This came from another site"
    traveller.shoot("cross-site")
    assert traveller.profile()["email_verified"] is False
    traveller.page.goto(link)
    traveller.press("Verify my address")
    assert traveller.profile()["email_verified"] is True


def test_no_site_can_show_a_page_within_its_own(traveller):
    """HT-15: not even ours, which the browser tells from others by nothing but the address."""
    page, at = traveller.page, traveller.service.url
    page.route(
        f"{at}/around",
        lambda route: route.fulfill(
            body=f'<iframe src="{at}/reset-password"></iframe>', content_type="text/html"
        ),
    )
    with page.expect_response(f"{at}/reset-password") as within:
        page.goto(f"{at}/around")
    assert within.value.status == 200
    assert page.frame_locator("iframe").get_by_role("button").count() == 0
