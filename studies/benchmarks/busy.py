"""Is somebody else at work noticed while this machine is profiled? And is a quiet machine left in peace?

    python studies/benchmarks/busy.py [--trials 20]

Half of the trials run beside a process that keeps one core busy; they come in random order. A trial times a small
kernel table, as profiling does. Run it on a machine that is otherwise quiet.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys

from record import keep

from autocompress.anatomy.weights import random_weights
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.devices.profiling import bert_shape
from autocompress.devices.timing import time_side_by_side, timing_lane, workload_run

LOAD = Workload(1, 64, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20, help="of each kind")
    trials = parser.parse_args().trials
    shape = bert_shape(hidden=384, heads=12, head_size=32, width=1536, layers=1)
    session = Session(write_graph(random_weights(shape, positions=64, seed=0)).SerializeToString())
    runs = [workload_run(session, LOAD, rows=1000)] * 4
    plan = [True, False] * trials
    random.Random(0).shuffle(plan)
    noticed = {True: 0, False: 0}
    for beside in plan:
        burner = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if beside else None
        try:
            with timing_lane():
                timed = time_side_by_side(runs, rounds=30, seconds=3.0)[0]
        finally:
            if burner:
                burner.kill()
                burner.wait()
        noticed[beside] += timed.noticed
        print(
            f"{'busy' if beside else 'quiet'}: disturbed {timed.disturbed:.0%}, others {timed.others:.2f}", flush=True
        )
    figures = {"trials": trials, "busy_noticed": noticed[True], "quiet_alarms": noticed[False]}
    print(f"noticed {noticed[True]} of {trials} with somebody at work; false alarms {noticed[False]} of {trials}")
    print(f"kept in {keep('busy', figures)}")


if __name__ == "__main__":
    main()
