import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.errors import InvalidRequest
from accounts.values.locales import parse_locale


@pytest.mark.parametrize(
    ("entered", "tag"),
    [
        ("en", "en"),
        ("DE", "de"),
        ("de-DE", "de-DE"),
        ("de-de", "de-DE"),
        ("EN-us", "en-US"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("ZH-TW", "zh-TW"),
        ("sr-LATN", "sr-Latn"),
        ("es-419", "es-419"),
        ("fil-PH", "fil-PH"),
        ("ca-ES-VALENCIA", "ca-ES-valencia"),
    ],
)
def test_known_locale_gets_its_canonical_case(entered, tag):
    """UN-05: stored as the entered BCP 47 tag, in the case of RFC 5646."""
    assert parse_locale(entered) == tag


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-",
        "xx",
        "x-1",
        "root",
        "und",
        "de_DE",
        "de-DE.UTF-8",
        "de-XX",
        "de-Cyrl",
        "de-de-de",
        "en-UK",
        "en-",
        "-en",
        "en--US",
        "en-US\n",
        "en-US-u-ca-gregory",
        "aa-BBBB-CCCC-DD-EE-FF-GG-HH-II",
        "../..",
        "../../../etc/passwd",
        "en\x00",
        "\ud800",
        "\u0434\u0435",
        "\uff45\uff4e",
        "a" * 1000,
        "en-" * 100 + "US",
    ],
)
def test_unknown_locale_is_rejected(value):
    """UN-05: paths, long texts and both exceptions of Babel have the same refusal."""
    with pytest.raises(InvalidRequest) as caught:
        parse_locale(value, "language")
    (violation,) = caught.value.violations
    assert violation.field == ("language",)


@given(
    st.text(max_size=40)
    | st.lists(st.text(st.sampled_from("deansrchtzDEUSL0149"), min_size=1, max_size=8), max_size=5)
    .map("-".join)
)  # fmt: skip
def test_canonical_locale_is_stable(text):
    """UN-05: any text is rejected, or parsed to a tag that parses to itself."""
    try:
        tag = parse_locale(text)
    except InvalidRequest:
        return
    assert parse_locale(tag) == tag
    assert tag.lower() == text.lower()
