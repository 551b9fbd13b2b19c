"""Describing a program by its `User-Agent`, in words of our own."""

from collections.abc import Mapping

#: By a word of the header, the first that matches: browsers name those that they descend from.
_PROGRAMS: Mapping[str, str] = {
    "Edg": "Microsoft Edge",
    "OPR/": "Opera",
    "OPT/": "Opera",
    "Opera": "Opera",
    "Vivaldi": "Vivaldi",
    "YaBrowser": "Yandex Browser",
    "UCBrowser": "UC Browser",
    "DuckDuckGo": "DuckDuckGo",
    "Brave": "Brave",
    "SamsungBrowser": "Samsung Internet",
    "FxiOS": "Firefox",
    "Firefox": "Firefox",
    "CriOS": "Chrome",
    "Chrome": "Chrome",
    "Safari": "Safari",
    "curl": "curl",
    "python": "Python",
    "Python": "Python",
    "Go-http-client": "Go",
    "okhttp": "Android app",
}
_SYSTEMS: Mapping[str, str] = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "CrOS": "ChromeOS",
    "Mac OS X": "macOS",
    "Linux": "Linux",
}


def describe_user_agent(user_agent: str | None) -> str:
    """Return the names of program and system, such as "Firefox, Windows"; empty if unknown.

    For a mail: the header itself is text of the client, who may be an attacker.
    """
    names = (_find(words, user_agent or "") for words in (_PROGRAMS, _SYSTEMS))
    return ", ".join(filter(None, names))


def _find(words: Mapping[str, str], user_agent: str) -> str | None:
    return next((name for word, name in words.items() if word in user_agent), None)
