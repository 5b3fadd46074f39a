"""Run the benchmarks one after the other and print one table of ratios.

``python benchmarks/run_all.py --small`` takes less than ten minutes and shows that the scripts work and their sides
agree; without ``--small`` it takes hours, and its records are those that :mod:`table` makes the pages from. A script
that cannot run on this machine says why; one that fails is named at the end, and the status is not 0.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from harness import SKIPPED
from table import RESULTS, long_table, read_records, small_table

HERE = Path(__file__).parent
# Arguments of scripts that measure several things, a run for each.
RUNS = {
    "bench_runtimes.py": (["query"], ["start"], ["demo"]),
    "bench_serving.py": (["batching"],),
    "bench_static_queries.py": (["query"], ["search"], ["import"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="the small version of each")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="where records go")
    parser.add_argument("--folder", type=Path, default=HERE, help=argparse.SUPPRESS)
    parser.add_argument("scripts", nargs="*", help="only these; by default all")
    options = parser.parse_args()
    folder = options.json or (HERE.parent / "build" / "benchmarks" if options.small else RESULTS)
    failed = []
    for script in options.scripts or sorted(path.name for path in options.folder.glob("bench_*.py")):
        for arguments in RUNS.get(script, ([],)):
            record = folder / ("-".join([Path(script).stem.removeprefix("bench_"), *arguments]) + ".json")
            begin = time.monotonic()
            command = [sys.executable, str(options.folder / script), *arguments, "--json", str(record)]
            done = subprocess.run([*command, *(["--small"] if options.small else [])], capture_output=True, text=True)
            name = " ".join([script, *arguments])
            print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
            if done.returncode:
                record.unlink(missing_ok=True)  # of an earlier run
            if done.returncode == SKIPPED:
                print(done.stdout.strip(), file=sys.stderr)
            elif done.returncode:
                failed.append(name)
                print(*done.stderr.splitlines()[-5:], sep="\n", file=sys.stderr)
    print((small_table if options.small else long_table)(read_records(folder)))
    if failed:
        sys.exit(f"run_all.py: {', '.join(failed)} failed")


if __name__ == "__main__":
    main()
