"""RECORD: the truth of one job in one SQLite file: its tables, its moves, its questions. One process writes it."""

from elsewhere.ledger.ledger import Ledger
from elsewhere.ledger.views import Attempt, Counts, TaskView

__all__ = ["Attempt", "Counts", "Ledger", "TaskView"]
