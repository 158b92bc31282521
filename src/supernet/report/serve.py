"""A page on this machine with the progress of a run: read-only, of fixed names, without a script from elsewhere."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from html import escape
from http import HTTPStatus
from http.client import HTTP_PORT
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from supernet.engine.files import plain_bytes
from supernet.engine.run import Run
from supernet.errors import UserError, reason_of
from supernet.report.runs import Runs
from supernet.report.watch import What, page, watched

HOST = "127.0.0.1"

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 1rem auto; max-width: 60rem; padding: 0 1rem; }}
h1 {{ font-size: 1.2rem; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; }}
th, td {{ text-align: left; vertical-align: top; padding: .15rem 1rem .15rem 0; overflow-wrap: anywhere; }}
th {{ font-weight: 600; overflow-wrap: normal; }}
img {{ max-width: 100%; background: #fff; }}
figure {{ display: inline-block; margin: .5rem 1.5rem .5rem 0; width: 18rem; max-width: 100%; }}
</style></head><body><main>{content}</main></body></html>
"""
_SCRIPT = """
const look = async () => {
  let answer;
  try { answer = await fetch("/", {cache: "no-store"}); } catch { return; }
  const now = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (now.title !== document.title) { location.reload(); return; }  // another page, with a style of its own
  for (const part of ["header", "main"]) {
    const [old, other] = [document, now].map(page => page.querySelector(part));
    if (old && other && old.innerHTML !== other.innerHTML) old.replaceWith(other);
  }
};
setInterval(look, 2000);
"""


def server(folder: str, port: int = 0, look: Callable[[str], What] = watched) -> ThreadingHTTPServer:
    """Return a server of the page on what `look` finds in a folder, such as a run; port 0 is a free one.

    It answers on the loopback address alone. Raises UserError if the folder holds no run, or the port is taken.
    """
    look(folder)
    try:
        return ThreadingHTTPServer((HOST, port), partial(_Handler, folder, look))
    except (OSError, OverflowError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        raise UserError(f"cannot serve on port {port}: {reason}; give another with --port, or none") from None


def _names(port: int) -> set[str]:
    """Return what a browser calls this machine at a port: without the port if it is that of http."""
    names = {HOST, "localhost"}
    return {f"{name}:{port}" for name in names} | (names if port == HTTP_PORT else set())


class _Handler(BaseHTTPRequestHandler):
    """Answers with the page on the run, and with nothing else: no path is looked up."""

    def __init__(self, folder: str, look: Callable[[str], What], *rest: object) -> None:
        self.folder, self.look = folder, look
        super().__init__(*rest)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        name, own = self.path.partition("?")[0].removeprefix("/"), _names(self.connection.getsockname()[1])
        if self.headers.get("Host") not in own:  # a page from elsewhere, whose name leads to this address
            self._answer(HTTPStatus.FORBIDDEN, b"this page has another address\n")
        elif name == "":
            self._answer(HTTPStatus.OK, *self._page())
        elif name == "favicon.ico":  # which every browser asks for
            self._answer(HTTPStatus.NO_CONTENT, b"")
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"no such page\n")

    do_HEAD = do_GET  # noqa: N815

    def _page(self) -> tuple[bytes, str]:
        """Return the report of a finished run, if there is one; otherwise the page, and the mark of its script."""
        nonce = secrets.token_urlsafe(16)
        try:
            what = self.look(self.folder)
            finished = isinstance(what, Run) and what.finished
            if finished and (report := plain_bytes(Path(self.folder) / "report.html")) is not None:
                return report, ""
            shown = self._around(page(what)) if isinstance(what, Run | Runs) else what.page()
        except UserError as error:
            shown = self._around(f"<p>{escape(str(error))}</p>")
        before, end, after = shown.rpartition("</body>")
        return f'{before}<script nonce="{nonce}">{_SCRIPT}</script>{end}{after}'.encode(errors="replace"), nonce

    def _around(self, content: str) -> str:
        return _PAGE.format(title=escape(self.folder), content=content)

    def _answer(self, status: HTTPStatus, content: bytes, nonce: str = "") -> None:
        script = f"'nonce-{nonce}'" if nonce else "'none'"
        rules = f"script-src {script}; style-src 'unsafe-inline'; img-src data:; connect-src 'self'"
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", f"default-src 'none'; {rules}; base-uri 'none'; form-action 'none'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cache-Control", "no-store")
        with suppress(ConnectionError):  # the browser has gone
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Say nothing of each answer."""
