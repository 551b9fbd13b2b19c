"""QR codes as SVG, for pages that show a secret to an authenticator app."""

import segno


def qr_code_svg(text: str) -> str:
    """Return a text as a QR code: an SVG element without a size, in the colour of the page."""
    code: str = segno.make(text, error="m").svg_inline(
        omitsize=True, border=2, dark="currentColor", svgclass=None, lineclass=None
    )
    return code
