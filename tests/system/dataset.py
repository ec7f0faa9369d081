#!/usr/bin/env python3
"""A realistic data set through the published client library, compared with plain SQLite.

The shop of an imaginary wholesaler, about 100,000 rows from a seeded generator, is loaded twice:
over HTTP with pyrqlite, and into Python's own sqlite3 in memory. Every table and every query must
give equal rows. Needs pyrqlite (pip install pyrqlite, for example in a venv).

What the library makes necessary: it sends only statements that begin with SELECT or PRAGMA as
queries (so a recursive CTE stands inside a SELECT), it decodes text columns whose declared type it
doesn't know as base64 (so JSON lives in a TEXT column), and executemany() doesn't report errors
(so the number of rows is checked).
"""

import argparse
import datetime
import json
import logging
import math
import os
import random
import sqlite3
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rqnode import HOST, Node, NodeError, Tally, exit_on_sigterm

CUSTOMERS, PRODUCTS, ORDERS, MOVEMENTS = 5000, 2000, 20000, 8000
BATCH = 2000

SCHEMA = [
    """CREATE TABLE customers(
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, city VARCHAR(40), vat_number TEXT UNIQUE,
        born DATE, active BOOLEAN NOT NULL DEFAULT 1, credit_limit REAL, note TEXT)""",
    """CREATE TABLE products(
        id INTEGER PRIMARY KEY, sku TEXT NOT NULL UNIQUE, name TEXT NOT NULL, description TEXT,
        cents INTEGER NOT NULL CHECK (cents > 0), weight REAL, attributes TEXT, picture BLOB,
        parent INTEGER REFERENCES products(id), stock INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE orders(
        id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customers(id),
        placed TIMESTAMP NOT NULL, shipped DATETIME, due DATE, state TEXT NOT NULL
        CHECK (state IN ('open', 'paid', 'shipped', 'cancelled')))""",
    """CREATE TABLE order_lines(
        order_id INTEGER NOT NULL REFERENCES orders(id), line INTEGER NOT NULL,
        product INTEGER NOT NULL REFERENCES products(id), quantity INTEGER NOT NULL,
        cents INTEGER NOT NULL, PRIMARY KEY (order_id, line)) WITHOUT ROWID""",
    """CREATE TABLE stock_movements(
        id INTEGER PRIMARY KEY AUTOINCREMENT, product INTEGER NOT NULL, delta INTEGER NOT NULL,
        reason TEXT)""",
    "CREATE VIRTUAL TABLE product_text USING fts5(name, description, tokenize = 'unicode61')",
    "CREATE INDEX orders_customer ON orders(customer, placed)",
    "CREATE INDEX orders_open ON orders(due) WHERE state = 'open'",
    "CREATE INDEX lines_product ON order_lines(product)",
    "CREATE INDEX products_colour ON products(json_extract(attributes, '$.colour'))",
    """CREATE VIEW order_totals AS
        SELECT o.id, o.customer, o.placed, o.state, count(*) AS lines,
               sum(l.quantity * l.cents) AS cents
        FROM orders o JOIN order_lines l ON l.order_id = o.id GROUP BY o.id""",
    """CREATE TRIGGER products_text AFTER INSERT ON products BEGIN
        INSERT INTO product_text(rowid, name, description)
        VALUES(new.id, new.name, new.description); END""",
    """CREATE TRIGGER movements_stock AFTER INSERT ON stock_movements BEGIN
        UPDATE products SET stock = stock + new.delta WHERE id = new.product; END""",
]

CITIES = ["Zürich", "Łódź", "東京", "São Paulo", "Αθήνα", "Москва", "Reykjavík", "القاهرة", None]
NOUNS = ["hammer", "lamp", "valve", "cable", "drill", "Säge", "câble", "ノート", "bracket", "hinge"]
WORDS = ["robust", "light", "waterproof", "steel", "oak", "cordless", "professional", "compact",
         "été", "grün", "quiet", "heavy", "recycled", "spare", "precision", "O'Neill", "50%",
         "what?", "a:b", "\"quoted\"", "back\\slash", "<tag>&amp;", "emoji 🔧", "tab\there"]
COLOURS = ["red", "green", "blue", "black", None]


def generate(seed):
    """{table: (insert statement, rows)}; dates are text, as SQLite stores them."""
    rng = random.Random(seed)
    day = datetime.date(2020, 1, 1)

    def moment():
        return "%s %02d:%02d:%02d" % (day + datetime.timedelta(rng.randrange(1500)),
                                      rng.randrange(24), rng.randrange(60), rng.randrange(60))

    customers = [(i, "Customer %d %s" % (i, rng.choice(WORDS)), rng.choice(CITIES),
                  "VAT%08d" % i if i % 7 else None,
                  str(datetime.date(1940, 1, 1) + datetime.timedelta(rng.randrange(25000)))
                  if i % 5 else None,
                  rng.random() < 0.9, rng.randrange(400) * 250.5 if i % 3 else None,
                  " ".join(rng.choices(WORDS, k=6)) if i % 4 == 0 else None)
                 for i in range(1, CUSTOMERS + 1)]
    products = []
    for i in range(1, PRODUCTS + 1):
        attributes = {"colour": rng.choice(COLOURS), "tags": rng.sample(WORDS, rng.randrange(4)),
                      "size": {"w": rng.randrange(500), "h": rng.randrange(500)}}
        products.append((
            i, "SKU-%05d" % i, "%s %s %d" % (rng.choice(WORDS), rng.choice(NOUNS), i),
            " ".join(rng.choices(WORDS, k=12)), rng.randrange(100, 100000),
            rng.randrange(1, 4000) / 8, json.dumps(attributes, ensure_ascii=False),
            rng.randbytes(rng.randrange(64)) if i % 3 else None,
            rng.randrange(max(1, i // 2), i) if i > 10 and i % 2 else None))
    orders, lines = [], []
    for i in range(1, ORDERS + 1):
        state = rng.choice(("open", "paid", "shipped", "shipped", "cancelled"))
        placed = moment()
        orders.append((i, rng.randrange(1, CUSTOMERS + 1), placed,
                       moment() if state == "shipped" else None, placed[:10], state))
        for n in range(1, rng.choice((1, 2, 3, 4, 6)) + 1):
            lines.append((i, n, rng.randrange(1, PRODUCTS + 1), rng.randrange(1, 20),
                          rng.randrange(100, 100000)))
    movements = [(rng.randrange(1, PRODUCTS + 1), rng.randrange(-50, 200),
                  rng.choice(("delivery", "return", "count", None))) for _ in range(MOVEMENTS)]
    return {
        "customers": ("INSERT INTO customers VALUES(?, ?, ?, ?, ?, ?, ?, ?)", customers),
        "products": ("INSERT INTO products(id, sku, name, description, cents, weight, attributes,"
                     " picture, parent) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)", products),
        "orders": ("INSERT INTO orders VALUES(?, ?, ?, ?, ?, ?)", orders),
        "order_lines": ("INSERT INTO order_lines VALUES(?, ?, ?, ?, ?)", lines),
        "stock_movements": ("INSERT INTO stock_movements(product, delta, reason) VALUES(?, ?, ?)",
                            movements),
    }


# Every query has an order that leaves nothing open, and columns of one type each.
QUERIES = [
    ("join", "SELECT o.id, c.name, c.city FROM orders o JOIN customers c ON c.id = o.customer"
             " WHERE c.city = ? AND o.state = ? ORDER BY o.id", ("Zürich", "paid")),
    ("left join and NULL", "SELECT c.id, c.vat_number, o.id FROM customers c LEFT JOIN orders o"
     " ON o.customer = c.id AND o.state = 'open' WHERE c.vat_number IS NULL ORDER BY c.id, o.id",
     None),
    ("aggregate", "SELECT city, count(*), sum(credit_limit), min(born), max(born)"
     " FROM customers WHERE city IS NOT NULL GROUP BY city HAVING count(*) > :least ORDER BY city",
     {"least": 10}),
    ("average", "SELECT parent IS NULL AS top, avg(weight), total(cents), group_concat(DISTINCT"
     " stock > 0) FROM products GROUP BY top ORDER BY top", None),
    ("view", "SELECT id, lines, cents FROM order_totals WHERE cents > ? ORDER BY cents DESC, id"
     " LIMIT 200", (3000000,)),
    ("window rank", "SELECT customer, id, cents, rank() OVER (PARTITION BY customer ORDER BY"
     " cents DESC) AS place, sum(cents) OVER (PARTITION BY customer ORDER BY placed, id ROWS"
     " BETWEEN 2 PRECEDING AND CURRENT ROW) AS rolling FROM order_totals WHERE customer < 300"
     " ORDER BY customer, place, id", None),
    ("window lag", "SELECT product, id, delta, lag(delta, 1, 0) OVER w, ntile(4) OVER w,"
     " first_value(id) OVER w FROM stock_movements WHERE product BETWEEN 10 AND 200"
     " WINDOW w AS (PARTITION BY product ORDER BY id) ORDER BY product, id", None),
    ("recursive CTE", "SELECT * FROM (WITH RECURSIVE chain(id, top, depth) AS ("
     "SELECT id, id, 0 FROM products WHERE parent IS NULL UNION ALL "
     "SELECT p.id, c.top, c.depth + 1 FROM products p JOIN chain c ON p.parent = c.id) "
     "SELECT id, top, depth FROM chain) ORDER BY id", None),
    ("FTS5 phrase", "SELECT rowid, name FROM product_text WHERE product_text MATCH ?"
     " ORDER BY rowid", ('steel AND (oak OR "cordless drill")',)),
    ("FTS5 column and prefix", "SELECT rowid, snippet(product_text, 1, '[', ']', '…', 6)"
     " FROM product_text WHERE product_text MATCH ? ORDER BY rowid", ("description: water*",)),
    ("FTS5 unicode", "SELECT rowid, highlight(product_text, 1, '<', '>') FROM product_text"
     " WHERE product_text MATCH ? ORDER BY rowid LIMIT 100", ("ete",)),
    ("FTS5 join", "SELECT p.sku, p.cents FROM product_text t JOIN products p ON p.id = t.rowid"
     " WHERE product_text MATCH 'quiet' AND p.cents < 5000 ORDER BY p.sku", None),
    ("json_extract", "SELECT id, json_extract(attributes, '$.size.w') AS w FROM products"
     " WHERE json_extract(attributes, '$.colour') = ? ORDER BY id", ("red",)),
    ("json_each", "SELECT t.value, count(*) FROM products p, json_each(p.attributes, '$.tags') t"
     " GROUP BY t.value ORDER BY t.value", None),
    ("json text", "SELECT id, attributes FROM products WHERE json_array_length(attributes,"
     " '$.tags') = 3 ORDER BY id", None),
    ("json build", "SELECT json_object('id', id, 'name', name, 'tags', json(json_extract("
     "attributes, '$.tags'))) FROM products WHERE id < 100 ORDER BY id", None),
    ("dates", "SELECT id, placed, shipped, due FROM orders WHERE placed >= ? AND placed < ?"
     " ORDER BY placed, id", ("2021-03-01", "2021-04-01")),
    ("date functions", "SELECT strftime('%Y-%m', placed) AS month, count(*), sum(shipped IS NULL)"
     " FROM orders GROUP BY month ORDER BY month", None),
    ("days", "SELECT id, cast(julianday(due, '+30 days') - julianday('2020-01-01') AS INTEGER)"
     " FROM orders WHERE state = 'open' ORDER BY id LIMIT 500", None),
    ("booleans", "SELECT id, active FROM customers WHERE NOT active ORDER BY id", None),
    ("blobs", "SELECT id, picture, length(picture), hex(picture) FROM products WHERE id <= 300"
     " ORDER BY id", None),
    ("unicode", "SELECT id, note FROM customers WHERE note LIKE ? ORDER BY id", ("%🔧%",)),
    ("NOCASE", "SELECT name FROM products ORDER BY name COLLATE NOCASE, id LIMIT 300", None),
    ("compound", "SELECT customer FROM orders WHERE state = 'cancelled' EXCEPT SELECT customer"
     " FROM orders WHERE state = 'shipped' ORDER BY 1", None),
    ("subquery", "SELECT id FROM products p WHERE NOT EXISTS (SELECT 1 FROM order_lines l WHERE"
     " l.product = p.id AND l.quantity > 17) ORDER BY id", None),
    ("CASE", "SELECT CASE WHEN cents < 1000 THEN 'low' WHEN cents < 50000 THEN 'middle' ELSE"
     " 'high' END AS band, count(*) FROM products GROUP BY band ORDER BY band", None),
    ("trigger's work", "SELECT p.id, p.stock, sum(m.delta) FROM products p JOIN stock_movements m"
     " ON m.product = p.id GROUP BY p.id ORDER BY p.id", None),
    ("nothing", "SELECT id, name FROM customers WHERE id < ?", (0,)),
]

# Changes after the load, with the number of rows that each must report.
CHANGES = [
    ("UPDATE orders SET state = 'shipped', shipped = '2024-02-29 12:00:00'"
     " WHERE state = 'paid' AND due < ?", ("2020-06-01",)),
    ("UPDATE products SET attributes = json_set(attributes, '$.sale', json('true'))"
     " WHERE cents > :limit", {"limit": 90000}),
    ("DELETE FROM order_lines WHERE order_id IN (SELECT id FROM orders WHERE state = 'cancelled')",
     None),
    ("DELETE FROM stock_movements WHERE reason IS NULL", None),
    ("UPDATE customers SET note = ? WHERE id = ?", ("it's 'quoted' ✓\nsecond line", 17)),
    ("UPDATE products SET picture = ? WHERE id = ?", (bytes(range(256)), 18)),
]

TABLES = {"customers": "id", "products": "id", "orders": "id", "order_lines": "order_id, line",
          "stock_movements": "id"}


def plain(value):
    """The library turns date columns into objects; sqlite3 gives the text that is stored."""
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, bool):
        return int(value)
    return value


def same_cell(a, b):
    if isinstance(a, float) or isinstance(b, float):
        # Versions of SQLite differ in how they add floats up, in the last digits.
        return (isinstance(a, (int, float)) and isinstance(b, (int, float))
                and math.isclose(a, b, rel_tol=1e-12))
    return type(a) is type(b) and a == b


def compare(tally, name, remote, local):
    remote = [tuple(plain(v) for v in row) for row in remote]
    local = [tuple(row) for row in local]
    for n, (a, b) in enumerate(zip(remote, local)):
        if len(a) != len(b) or not all(map(same_cell, a, b)):
            return tally.check(False, "%s: row %d is %r, expected %r" % (name, n, a, b))
    return tally.check(len(remote) == len(local),
                       "%s: %d rows, expected %d" % (name, len(remote), len(local)))


def run(dbapi2, host, port, seed, tally):
    local = sqlite3.connect(":memory:")
    remote = dbapi2.connect(host=host, port=port, timeout=60)
    cursor = remote.cursor()
    begin = time.monotonic()

    for sql in SCHEMA:
        local.execute(sql)
        cursor.execute(sql)
    rows = 0
    for table, (sql, data) in generate(seed).items():
        local.executemany(sql, data)
        for first in range(0, len(data), BATCH):
            part = data[first:first + BATCH]
            cursor.executemany(sql, part)
            tally.check(cursor.rowcount == len(part), "%s: executemany reports %s rows of %d"
                        % (table, cursor.rowcount, len(part)))
        rows += len(data)
    local.commit()
    loaded = time.monotonic()
    print("%d rows loaded in %.1f s (both databases)" % (rows, loaded - begin))

    def compare_all(when):
        for table, order in TABLES.items():
            sql = "SELECT * FROM %s ORDER BY %s" % (table, order)
            compare(tally, "%s %s" % (when, table), cursor.execute(sql).fetchall(),
                    local.execute(sql).fetchall())
        for name, sql, parameters in QUERIES:
            try:
                answer = cursor.execute(sql, parameters).fetchall()
            except Exception as e:      # the library's errors, or what it makes of a broken answer
                tally.check(False, "%s %s: %s: %s" % (when, name, type(e).__name__, e))
                continue
            expected = local.execute(sql, parameters or ()).fetchall()
            compare(tally, "%s %s" % (when, name), answer, expected)
            tally.check(bool(expected) == (name != "nothing"), "%s: the query proves nothing" % name)

    compare_all("loaded:")
    for sql, parameters in CHANGES:
        cursor.execute(sql, parameters)
        expected = local.execute(sql, parameters or ()).rowcount
        tally.check(cursor.rowcount == expected and expected > 0,
                    "%s: %s rows, expected %d" % (sql[:40], cursor.rowcount, expected))

    # Errors reach the caller, and change nothing.
    for sql in ("INSERT INTO customers(id, name) VALUES(1, 'again')",
                "INSERT INTO products(id, sku, name, cents) VALUES(99999, 'X', 'x', -1)",
                "INSERT INTO nowhere VALUES(1)"):
        try:
            cursor.execute(sql)
            tally.check(False, "no error: " + sql)
        except dbapi2.Error:
            tally.check(True, "")
    cursor.execute("INSERT INTO stock_movements(product, delta, reason) VALUES(?, ?, ?)",
                   (1, 5, "last"))
    expected = local.execute("INSERT INTO stock_movements(product, delta, reason)"
                             " VALUES(?, ?, ?)", (1, 5, "last")).lastrowid
    tally.check(cursor.lastrowid == expected, "lastrowid is %s, expected %s"
                % (cursor.lastrowid, expected))

    compare_all("changed:")
    for level in ("none", "weak", "linearizable", "strong"):
        answer = cursor.execute("SELECT count(*), sum(stock) FROM products",
                                consistency=level).fetchall()
        compare(tally, "level " + level, answer,
                local.execute("SELECT count(*), sum(stock) FROM products").fetchall())
    integrity = cursor.execute("PRAGMA integrity_check").fetchall()
    tally.check([tuple(r) for r in integrity] == [("ok",)], "integrity_check: %s" % integrity)
    remote.close()
    print("queried in %.1f s" % (time.monotonic() - loaded))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="host:port of a running node with an empty database")
    where.add_argument("--rqd", help="start and stop this server")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dir", help="parent of the data directory (default: temporary)")
    args = parser.parse_args()
    try:
        from pyrqlite import dbapi2
    except ImportError:
        parser.error("pyrqlite is missing: python3 -m venv V && V/bin/pip install pyrqlite")
    exit_on_sigterm()
    logging.disable(logging.ERROR)      # the library logs the errors that are provoked here
    print("SQLite of this Python: %s, seed %d" % (sqlite3.sqlite_version, args.seed))

    tally = Tally()
    node = None
    try:
        if args.rqd:
            node = Node(args.rqd, args.dir)
            node.start()
            node.wait_ready(30)
            host, port = HOST, node.http_port
        else:
            host, _, port = args.url.rpartition(":")
        begin = time.monotonic()
        run(dbapi2, host, int(port), args.seed, tally)
        seconds = time.monotonic() - begin
        tally.check(seconds < 60, "it took %.0f s" % seconds)
        if node:
            tally.check(node.stop() == 0, "SIGTERM: exit code isn't 0, or processes remain")
    except (NodeError, dbapi2.Error, OSError) as e:
        tally.check(False, "stopped: %s: %s" % (type(e).__name__, e))
    if node:
        if tally.failed:
            node.dump_log()
        node.remove()
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
