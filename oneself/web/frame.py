"""The common frame of pages: their style, script, logo and response headers."""

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from oneself.http.response.responses import Answer
from oneself.templating import Templates

_OWN = Path(__file__).parents[2] / "templates" / "docs"
_ICON_HEADERS = {"Cache-Control": "public, max-age=86400"}
#: An SVG that is opened on its own can load and run nothing.
_LOGO_HEADERS = {
    **_ICON_HEADERS,
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
    ),
}
_ASSET_HEADERS = {"Cache-Control": "public, max-age=31536000, immutable"}

#: A page cannot be framed, and loads only the parts that are listed.
CLOSED = ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "img-src 'self'")
NO_FORMS = ("form-action 'none'",)
#: The script makes no HTML of text, so nothing that it shows can run.
OWN_SCRIPT = ("script-src 'self'", "require-trusted-types-for 'script'", "trusted-types 'none'")
FORMS = (*OWN_SCRIPT, "form-action 'self'")


class PageFrame:
    """Renders the templates of `templates/pages`; their one style is allowed by its hash."""

    def __init__(self, templates: Templates, *, public_origin: str) -> None:
        self.templates = templates
        self.public_origin = public_origin
        # The host name is from the settings, never from the request (EM-12).
        self.host = urlsplit(public_origin).netloc
        style = templates.render("pages/style.css.j2", templates.language(None))
        digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self._policy = (*CLOSED, f"style-src 'sha256-{digest}'")
        logo = templates.brand.logo
        scripts = assets([("password.js", (_OWN / "password.js").read_bytes())], "/pages")
        [self._script] = scripts
        #: Script and images, by their paths. Browsers ask for `/favicon.ico` where a page names no
        #: icon, as with JSON.
        self.files: Mapping[str, Answer] = {
            **scripts,
            logo.path: Answer(200, logo.content, logo.content_type, _LOGO_HEADERS),
            "/favicon.ico": Answer(
                200, (_OWN / "favicon.ico").read_bytes(), "image/vnd.microsoft.icon", _ICON_HEADERS
            ),
        }

    def render(
        self, name: str, language: str, values: Mapping[str, object], *, has_forms: bool = False
    ) -> Answer:
        """Return a page; `name` is the one of its template."""
        html = self.templates.render(
            f"pages/{name}.html.j2",
            language,
            **{"host": self.host, "script": self._script, **values},
        )
        return page(html.encode(), language, (*self._policy, *(FORMS if has_forms else NO_FORMS)))


def page(html: bytes, language: str, policy: Iterable[str]) -> Answer:
    """Return an HTML page with the parts of its Content-Security-Policy."""
    headers = {
        "Content-Security-Policy": "; ".join(policy),
        "Content-Language": language,
        # Webmail that opened the page gets no reference to its window.
        "Cross-Origin-Opener-Policy": "same-origin",
        "X-Robots-Tag": "noindex",
    }
    return Answer(200, html, "text/html; charset=utf-8", headers)


def assets(files: Iterable[tuple[str, bytes]], folder: str) -> dict[str, Answer]:
    """Return scripts and styles by paths that change with their content, to be cached for ever."""
    types = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
    return {
        f"{folder}/{hashlib.sha256(body).hexdigest()[:16]}/{name}": Answer(
            200, body, types[name.rpartition(".")[2]], _ASSET_HEADERS
        )
        for name, body in files
    }
