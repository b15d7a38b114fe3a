"""RECORD: the truth of one job in one SQLite file: its tables, its moves, its questions. One process writes it.

`ledger.Ledger` moves, `questions.Questions` only asks; readers load no more than the latter.
"""
