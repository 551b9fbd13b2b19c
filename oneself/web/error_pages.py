"""HTML in place of a refusal in JSON, for browsers at addresses that no operation documents."""

from starlette.types import Scope

from oneself.http.request.bodies import headers_of
from oneself.http.response.dialects import Dialects
from oneself.http.response.responses import Answer
from oneself.web.frame import PageFrame
from oneself.web.languages import preferred_language

_READ = ("GET", "HEAD")
_METHOD_NOT_ALLOWED = 405
_MOST_RANGES = 20
_JSON = ("application/json", "application/problem+json")


class ErrorPages:
    """Shows refusals to browsers.

    An operation that the document has always answers as documented, also to a browser.
    """

    def __init__(self, dialects: Dialects, frame: PageFrame, *, reference: bool) -> None:
        self._dialects = dialects
        self._frame = frame
        self._reference = reference

    def __call__(self, scope: Scope, answer: Answer) -> Answer:
        """Return the answer as a page if the browser prefers one, else the answer itself."""
        # A 405 to GET is about a path whose documented operations have other methods.
        is_undocumented = (
            answer.status == _METHOD_NOT_ALLOWED or self._dialects.find(scope["path"]) is None
        )
        accept = headers_of(scope).get(b"accept", b"")
        if scope["method"] not in _READ or not is_undocumented or not prefers_html(accept):
            return answer
        language = preferred_language(self._frame.templates, scope)
        values = {"reference": self._reference, "status": answer.status}
        page = self._frame.render("error", language, values)
        vary = {"Vary": "Accept, Accept-Language"}
        return answer._replace(
            body=page.body,
            content_type=page.content_type,
            headers={**answer.headers, **page.headers, **vary},
        )


def prefers_html(accept: bytes) -> bool:
    """Return whether an `Accept` names HTML, and no JSON before it (RFC 9110 section 12.5.1)."""
    weights: dict[str, float] = {}
    for each in accept.decode("latin-1").lower().split(",", _MOST_RANGES)[:_MOST_RANGES]:
        name, *parameters = (part.strip() for part in each.split(";"))
        texts = [part[2:] for part in parameters if part.startswith("q=")]
        weights[name] = _weight(texts[0]) if texts else 1.0
    return weights.get("text/html", 0.0) > max(weights.get(name, 0.0) for name in _JSON)


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
