#!/usr/bin/env python3
"""Receives what Marque exports, as others would: signed webhooks, OTLP and syslog, each on a loopback address.

It imports nothing of Marque. A webhook is taken if the reference library of Standard Webhooks says that it is signed; what is
posted to `/v1/logs` is taken if it has the collector's key. It prints one JSON line {"http", "syslog"} with its addresses,
and runs until it is ended.

    export_receiver.py FOLDER WEBHOOK-SECRET COLLECTOR-KEY

A request that was taken is a file of FOLDER/<path>, whole before it is answered; a syslog message is a line of FOLDER/syslog.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

from standardwebhooks import Webhook, WebhookVerificationError

NUMBER = count()


def is_signed(webhook, body, headers):
    try:
        webhook.verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if not self.may_come(body):
            return self.answer(401)
        folder = self.server.folder / self.path.strip("/").replace("/", "-")
        folder.mkdir(exist_ok=True)
        partial = folder / ".partial"
        partial.write_bytes(body)
        partial.rename(folder / f"{next(NUMBER):06}")
        self.answer(200)

    def may_come(self, body):
        if self.path == "/v1/logs":
            return self.headers["authorization"] == self.server.key and self.headers["content-type"] == "application/json"
        # The library must also say no, or its yes is worth nothing.
        webhook, headers = self.server.webhook, dict(self.headers)
        return is_signed(webhook, body, headers) and not is_signed(webhook, body + b" ", headers)

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


class Syslog(StreamRequestHandler):
    """Octet counting (RFC 6587 section 3.4.1): a length, a space, and so many bytes."""

    def handle(self):
        with (self.server.folder / "syslog").open("ab", buffering=0) as file:
            while length := self.length():
                file.write(self.rfile.read(length) + b"\n")

    def length(self):
        digits = b""
        while (byte := self.rfile.read(1)) not in (b"", b" "):
            digits += byte
        return int(digits or 0)


def main(arguments):
    if len(arguments) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    folder, secret, key = arguments
    http, syslog = ThreadingHTTPServer(("127.0.0.1", 0), Http), ThreadingTCPServer(("127.0.0.1", 0), Syslog)
    for server in (http, syslog):
        server.folder = Path(folder)
        server.daemon_threads = True
    http.webhook, http.key = Webhook(secret), key
    threading.Thread(target=syslog.serve_forever, daemon=True).start()
    print(json.dumps({"http": f"127.0.0.1:{http.server_port}", "syslog": f"127.0.0.1:{syslog.server_address[1]}"}), flush=True)
    http.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
