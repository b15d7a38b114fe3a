"""The floor: a task list read, put into SQLite, run by two workers in batches of 64, recorded; every commit synced.

Nothing else: no retries, no timeouts, no output, no news of how it goes.
"""

import json
import os
import sqlite3
import sys

from noop import f


def opened(path):
    db = sqlite3.connect(path, isolation_level=None, timeout=60)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    return db


def work(path, last):
    db, done, n = opened(path), [], 0
    while n <= last:
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO done VALUES(?, ?)", done)
        n = db.execute("UPDATE head SET n = n + 64 RETURNING n - 64").fetchall()[0][0]
        rows = db.execute("SELECT n, data FROM tasks WHERE n >= ? AND n < ?", (n, n + 64)).fetchall()
        db.execute("COMMIT")
        done = [(k, f(**json.loads(data))) for k, data in rows]


def main(tasks, path):
    db = opened(path)
    db.execute("CREATE TABLE tasks(n INTEGER PRIMARY KEY, id TEXT UNIQUE, data TEXT)")
    db.execute("CREATE TABLE done(n INTEGER PRIMARY KEY, result TEXT)")
    db.execute("CREATE TABLE head(n INTEGER)")
    db.execute("BEGIN")
    with open(tasks) as lines:
        rows = ((n, task["task_id"], json.dumps(task["data"])) for n, task in enumerate(map(json.loads, lines), 1))
        db.executemany("INSERT INTO tasks VALUES(?, ?, ?)", rows)
    last = db.execute("SELECT max(n) FROM tasks").fetchall()[0][0]
    db.execute("INSERT INTO head VALUES(1)")
    db.execute("COMMIT")
    db.close()
    workers = []
    for _ in range(2):
        pid = os.fork()
        if not pid:
            work(path, last)
            os._exit(0)
        workers.append(pid)
    for pid in workers:
        os.waitpid(pid, 0)
    assert opened(path).execute("SELECT count(*) FROM done").fetchall()[0][0] == last


main(*sys.argv[1:])
