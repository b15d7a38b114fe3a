"""The limit of taking tasks in: lines cut by msgspec and put into SQLite, ids unique, one synced commit."""

import sqlite3
import sys

import msgspec


class Task(msgspec.Struct):
    task_id: str
    data: msgspec.Raw


def main(tasks, path):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE tasks(n INTEGER PRIMARY KEY, id TEXT, data BLOB)")
    decode = msgspec.json.Decoder(Task).decode
    db.execute("BEGIN")
    with open(tasks, "rb") as lines:
        rows = ((n, task.task_id, bytes(task.data)) for n, task in enumerate(map(decode, lines)))
        db.executemany("INSERT INTO tasks VALUES(?, ?, ?)", rows)
    db.execute("CREATE UNIQUE INDEX by_id ON tasks(id)")
    db.execute("COMMIT")


main(*sys.argv[1:])
