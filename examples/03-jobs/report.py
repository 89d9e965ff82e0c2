"""Show the ledger over HTTP."""

import sqlite3
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Report(BaseHTTPRequestHandler):
    def do_GET(self):
        # The folder is mounted read-only: nothing else writes, so nothing need be locked.
        with sqlite3.connect("file:/data/ledger.db?immutable=1", uri=True) as database:
            rows = database.execute("SELECT entry, amount FROM ledger ORDER BY id").fetchall()
        data = "".join(f"{entry}: {amount}\n" for entry, amount in rows).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


HTTPServer(("127.0.0.1", int(sys.argv[1])), Report).serve_forever()
