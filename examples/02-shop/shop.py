"""A small shop: orders are kept in PostgreSQL, page views counted in Redis.

GET /            the page, with the latest orders
GET /orders      the orders, as JSON
POST /orders     {"item": "...", "quantity": 1}
GET /healthz     200 while the database and the cache answer
"""

import html
import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2
import redis

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item text NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    placed timestamptz NOT NULL DEFAULT now()
)
"""
cache = redis.Redis.from_url(os.environ["CACHE"])


def query(statement, arguments=()):
    connection = psycopg2.connect(os.environ["DATABASE"], connect_timeout=3)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, arguments)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def latest_orders():
    rows = query("SELECT id, item, quantity FROM orders ORDER BY id DESC LIMIT 20")
    return [{"id": number, "item": item, "quantity": quantity} for number, item, quantity in rows]


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/":
            views = cache.incr("views")
            lines = "".join(f"<li>{o['quantity']} x {html.escape(o['item'])}</li>" for o in latest_orders())
            self.answer(
                200, f"<h1>Shop</h1><p>View {views}. Latest orders:</p><ul>{lines}</ul>\n", "text/html; charset=utf-8"
            )
        elif self.path == "/orders":
            self.answer(200, json.dumps(latest_orders()) + "\n")
        elif self.path == "/healthz":
            query("SELECT 1")
            cache.ping()
            self.answer(200, "ok\n", "text/plain")
        else:
            self.answer(404, "not found\n", "text/plain")

    def do_POST(self):
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 65536))
        if self.path != "/orders":
            self.answer(404, "not found\n", "text/plain")
            return
        try:
            order = json.loads(body)
            item, quantity = str(order["item"])[:200], int(order.get("quantity", 1))
            if quantity < 1:
                raise ValueError("quantity must be 1 or more")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.answer(400, f"not an order: {error}\n", "text/plain")
            return
        [(number,)] = query("INSERT INTO orders (item, quantity) VALUES (%s, %s) RETURNING id", (item, quantity))
        self.answer(201, json.dumps({"id": number, "item": item, "quantity": quantity}) + "\n")

    def answer(self, status, text, content_type="application/json"):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main():
    query(SCHEMA)
    server = ThreadingHTTPServer(("", int(os.environ["LISTEN"])), Shop)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"listening on port {os.environ['LISTEN']}", flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
