"""Rows per second, calls per row and calls wasted against a loopback endpoint, beside three peers.

    python recipes/benchmarks/endpoint.py --out endpoint.jsonl --python distilabel=ENV/bin/python \
        --python data_designer=ENV/bin/python --python curator=ENV/bin/python [--part speed bad killed]

The endpoint is `tests/chat_stub.py`, whose log counts the calls. Every contender is a process of its own (`peers/`)
with 32 requests at once. `speed`: rows/s with answers at once and after 0.25 s. `bad`: JSON is asked for and 10% or
50% of the answers are broken off. `killed`: SIGKILL at ten random moments, then started again in the same folder;
calls above one per row are wasted. Clocks start when everything is imported and stop when the rows are there. Results
go to a file line by line; what stands there is not run again.
"""

import argparse
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from generation import machine

HERE = Path(__file__).parent
CONCURRENCY = 32
NAMES = ("ours", "distilabel", "data_designer", "curator")
QUIET = {  # no telemetry, no downloads
    "NEMO_TELEMETRY_ENABLED": "false",
    "TELEMETRY_ENABLED": "False",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
}


def calls(folder: Path) -> int:
    """Return how often a row was asked for; a client's test calls are not counted."""
    log = folder / "calls.jsonl"
    return log.read_bytes().count(b"movie number") if log.exists() else 0


@contextmanager
def endpoint(options: argparse.Namespace, folder: Path, latency: float, bad: float) -> Iterator[str]:
    """Run the stub in a process of its own and yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = [str(port), str(latency), str(bad), "--log", str(folder / "calls.jsonl")]
    process = subprocess.Popen([sys.executable, options.stub, *settings])
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def start(options: argparse.Namespace, name: str, spec: dict[str, Any], folder: Path) -> subprocess.Popen:
    """Start a contender in a session of its own, so that it can be killed with all its processes."""
    pythons = {"ours": sys.executable, **dict(entry.split("=", 1) for entry in options.python)}
    (folder / "spec.json").write_text(json.dumps(spec))
    python = str(Path(pythons[name]).absolute())  # it runs in a folder of its own
    command = [python, "-W", "ignore", str(HERE / "peers" / f"{name}_api.py"), str(folder / "spec.json")]
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        return subprocess.Popen(
            command, stdout=out, stderr=err, env={**os.environ, **QUIET}, cwd=folder, start_new_session=True
        )


def kill(process: subprocess.Popen) -> None:
    """Kill a contender with all its processes."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def finish(options: argparse.Namespace, process: subprocess.Popen, folder: Path) -> dict[str, Any]:
    """Wait for a contender and return what it printed, or its last words under `error`."""
    try:
        process.wait(timeout=options.timeout)
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {options.timeout:.0f} s"}
    finally:
        kill(process)
    for line in reversed((folder / "out").read_text().splitlines()):
        if line.startswith('{"result":'):
            return json.loads(line)["result"]
    return {"error": " | ".join((folder / "err").read_text().strip().splitlines()[-3:])}


def once(options: argparse.Namespace, label: dict[str, Any]) -> dict[str, Any]:
    """Run one contender once; where the label names a moment, kill it at that share of its rows and start it again."""
    rows, moment, wanted = label["rows"], label["moment"], label["part"] == "bad"
    ask = ' Answer in JSON: {"review": "..."}.' if wanted else ""
    prompts = [f"Write one sentence of the review of movie number {at}.{ask}" for at in range(rows)]
    load, before = os.getloadavg()[0], 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        (folder / "work").mkdir()
        with endpoint(options, folder, label["latency"], label["bad"]) as url:
            spec = {"url": url, "prompts": prompts, "json": wanted, "concurrency": CONCURRENCY}
            spec |= {"folder": str(folder / "work"), "resume": moment is not None, "seed": label["repeat"]}
            process = start(options, label["contender"], spec, folder)
            if moment is not None:
                deadline = time.monotonic() + options.timeout
                while process.poll() is None and calls(folder) < moment * rows and time.monotonic() < deadline:
                    time.sleep(0.02)
                kill(process)
                before = calls(folder)
                process = start(options, label["contender"], spec, folder)
            found = finish(options, process, folder)
            texts = found.pop("accepted", [])
            counts = {"accepted": len(texts), "twice": len(texts) - len(set(texts)), "calls": calls(folder)}
            return {"label": label, "load_before": round(load, 2), "before_kill": before, **counts, **found}


def labels(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield what is to be run, contenders taking turns."""
    draw = random.Random(0)
    kinds = [("speed", options.rows, late, 0.0) for late in (0.0, 0.25)]
    kinds += [("bad", options.bad_rows, 0.0, bad) for bad in (0.1, 0.5)]
    plan = [(*kind, repeat, None) for kind in kinds for repeat in range(options.repeats)]
    for place in range(options.kills):
        plan.append(("killed", options.killed_rows, 0.25, 0.0, place, round(draw.uniform(0.05, 0.95), 3)))
    for part, rows, latency, bad, repeat, moment in plan:
        for name in options.contenders if part in options.part else ():
            shared = {"rows": rows, "latency": latency, "bad": bad, "moment": moment}
            yield {"part": part, "contender": name, "repeat": repeat, **shared}


def table(records: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in records:
        label = record["label"]
        about = {"speed": f"answers after {label['latency']} s", "bad": f"{label['bad']:.0%} bad", "killed": "killed"}
        groups.setdefault((about[label["part"]], label["contender"]), []).append(record)
    lines = ["| | contender | rows/s | calls per accepted row | calls wasted | accepted | twice | runs | settings |"]
    lines.append("|---" * 9 + "|")
    for (about, name), runs in groups.items():
        good = [run for run in runs if "error" not in run and run["accepted"]]
        if not good:
            said = runs[-1].get("error", "no rows").replace("|", "/")[:200]
            lines.append(f"| {about} | {name} | failed {len(runs)} times: {said} | | | | | | |")
            continue
        asked, accepted = sum(run["label"]["rows"] for run in good), sum(run["accepted"] for run in good)
        row = [about, name]
        row += ["" if about == "killed" else spread([run["accepted"] / run["seconds"] for run in good])]
        row += [f"{statistics.median(run['calls'] / run['accepted'] for run in good):.3f}"]
        row += [spread([run["calls"] - run["accepted"] for run in good]), f"{accepted / asked:.1%}"]
        row += [str(sum(run["twice"] for run in good)), f"{len(good)} of {len(runs)}"]
        row += ["; ".join(f"{k} {v}" for k, v in {**good[-1]["settings"], **good[-1]["versions"]}.items())]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="results, one JSON line each")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--contenders", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--part", nargs="+", choices=("speed", "bad", "killed"), default=["speed", "bad", "killed"])
    parser.add_argument("--stub", default=str(HERE.parent.parent / "tests" / "chat_stub.py"))
    for name, default in (("rows", 2000), ("bad-rows", 1000), ("killed-rows", 1800), ("repeats", 5), ("kills", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--timeout", type=float, default=300)
    options = parser.parse_args()
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    done = {json.dumps(record["label"]): record for record in map(json.loads, lines) if "error" not in record}
    records = []
    for label in labels(options):
        key = json.dumps(label)
        if key not in done:
            done[key] = once(options, label)
            with options.out.open("a") as stream:
                stream.write(json.dumps(done[key]) + "\n")
            shown = {k: v for k, v in done[key].items() if k in ("seconds", "accepted", "calls", "twice", "error")}
            print(label["part"], label["contender"], shown, file=sys.stderr, flush=True)
        records.append(done[key])
    print(f"\n{CONCURRENCY} requests at once, {machine()}\n\n{table(records)}")


if __name__ == "__main__":
    main()
