"""Bring the ledger from one version of its schema to the next, once."""

import sqlite3
import sys

STEPS = {
    1: [
        "CREATE TABLE ledger (id INTEGER PRIMARY KEY, entry TEXT NOT NULL)",
        "INSERT INTO ledger (entry) VALUES ('opening')",
    ],
    2: ["ALTER TABLE ledger ADD COLUMN amount INTEGER NOT NULL DEFAULT 0", "UPDATE ledger SET amount = 100"],
}

wanted = int(sys.argv[1])
with sqlite3.connect("/data/ledger.db", isolation_level=None) as database:
    [(version,)] = database.execute("PRAGMA user_version").fetchall()
    if version >= wanted:
        print(f"the schema is at {version} already")
    elif version == wanted - 1:
        database.execute("BEGIN")
        for statement in STEPS[wanted]:
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {wanted}")
        database.execute("COMMIT")
        print(f"migrated to {wanted}")
    else:
        sys.exit(f"the schema is at {version}; step {wanted} needs {wanted - 1}")
