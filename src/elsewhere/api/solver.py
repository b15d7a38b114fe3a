"""The exact solver behind `choose`: HiGHS, where highspy is installed (the extra `optimize`).

Loaded when it is first needed; what it answers is checked by whoever asked.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from elsewhere.choose.mix import Program, Solution, Solver

SECONDS = 2.0
"""After which the best that was found counts, with the bound that was reached."""


def solver() -> Solver | None:
    """The solver; None where it is not installed, and mixes are then found by sorting alone."""
    return solve if find_spec("highspy") is not None else None


def solve(program: Program) -> Solution | None:
    """Whole counts of least cost, and what no counts can cost less than. None: no counts meet every row."""
    import highspy

    model = _quiet(highspy)
    model.setOptionValue("threads", 1)
    model.setOptionValue("mip_rel_gap", program.gap)
    model.setOptionValue("time_limit", SECONDS)
    model.passModel(_model(highspy, program))
    model.run()
    if model.getModelStatus() in (
        highspy.HighsModelStatus.kInfeasible,
        highspy.HighsModelStatus.kUnboundedOrInfeasible,
    ):
        return None
    found = model.getInfo()
    whole = found.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    counts = [round(value) for value in model.getSolution().col_value] if whole else []
    # Its own tolerances are a millionth; a bound that claims less is one.
    return Solution(counts, max(0.0, found.mip_dual_bound * (1 - 1e-6)))


def _quiet(highspy: Any) -> Any:
    """A solver that prints nothing, not even its own name while it is made: our output may be JSON."""

    class Quiet(highspy.Highs):  # type: ignore[misc]
        def enableCallbacks(self) -> None:
            self.silent()
            super().enableCallbacks()

    return Quiet()


def _model(highspy: Any, program: Program) -> Any:
    """The program as HiGHS takes it: rows one after the other."""
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = len(program.costs), len(program.rows)
    model.col_cost_ = [float(cost) for cost in program.costs]
    model.col_lower_ = [0.0] * len(program.costs)
    model.col_upper_ = [float(most) for most in program.most]
    model.row_lower_ = [-highspy.kHighsInf if row.least is None else float(row.least) for row in program.rows]
    model.row_upper_ = [highspy.kHighsInf if row.most is None else float(row.most) for row in program.rows]
    starts = [0]
    for row in program.rows:
        starts.append(starts[-1] + len(row.weights))
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_ = starts
    model.a_matrix_.index_ = [place for row in program.rows for place in row.weights]
    model.a_matrix_.value_ = [float(weight) for row in program.rows for weight in row.weights.values()]
    model.integrality_ = [highspy.HighsVarType.kInteger] * len(program.costs)
    return model
