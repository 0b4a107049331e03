"""`make bench-peers`: trains the same models with ours and with PyTorch, in turn, and prints one table.

`compare.py SPEED [--only TEXT] [--rounds N] [--json FILE]`: SPEED is models/examples/speed, built; TEXT is a part of a
row's name. The two programs of a row run at the same time, but only one of them works at any moment; a row's ratio is
the median over the rounds of theirs ÷ ours (seconds), so that what else the machine does meets both; the second ratio is
the same of processor seconds, all threads' together. Memory is what each takes at most beside the loaded library, its
data included.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
# What is to be reached: PyTorch's seconds over ours, on one thread and on two.
CASES = [
    # case, PyTorch's layouts, operations of a measurement, samples of it, least ratio on one thread, on two
    ("matmul-1024", ["nchw"], 2 * 1024**3, None, 1.5, None),
    ("matmul-2048", ["nchw"], 2 * 2048**3, None, 1.5, None),
    ("cnn-fedavg-64", ["nchw", "nhwc", "loader"], 640 * 3 * 24.6e6, 640, 1.7, 1.5),
    ("cnn-fedavg-10", ["nchw", "nhwc"], 640 * 3 * 24.6e6, 640, 1.3, None),
    ("cnn-flower-32", ["nchw", "nhwc"], 6400 * 3 * 0.57e6, 6400, 1.7, None),
    ("logistic-64", ["nchw"], 6400 * 6 * 7840, 6400, None, None),
    ("mlp-64", ["nchw", "loader"], 6400 * 6 * 198.8e3, 6400, 1.0, None),
    ("mlp-10", ["nchw"], 6400 * 6 * 198.8e3, 6400, 1.5, None),
    ("resnet20-32", ["nchw", "nhwc"], 64 * 6 * 40.8e6, 64, 1.0, None),
    ("transformer-4", ["nchw"], 6 * 10.7e6 * 1024, 1024, 1.0, None),
    # Tokens of prompts, then tokens that follow: 8 sequences and one.
    ("prefill-8", ["nchw"], 2 * 10.7e6 * 8 * 192, 8 * 192, None, None),
    ("decode-8", ["nchw"], 2 * 10.7e6 * 8 * 192, 8 * 192, None, None),
    ("decode-1", ["nchw"], 2 * 10.7e6 * 192, 192, None, None),
]


class Peer:
    """A program that measures once for each line it is sent."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit(f"{' '.join(command)}: not ready")

    def seconds(self):
        """By the clock, and of processor time."""
        before = self.busy()
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        elapsed = float(self.process.stdout.readline())
        return elapsed, self.busy() - before

    def busy(self):
        # Linux's clock of another process (man 2 clock_getres: the low bits say which clock, 2: time it ran).
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def memory(self):
        self.process.stdin.close()
        answer = int(self.process.stdout.readline())
        self.process.wait()
        return answer


def peaks(speed):
    """GFLOP/s of separate and of fused operations by threads, the most of any instruction set."""
    lines = subprocess.run([speed, "peak"], check=True, capture_output=True, text=True).stdout.splitlines()
    found = {}
    for line in lines:
        _, threads, separate, fused = line.split()
        most = found.setdefault(int(threads), {"separate": 0.0, "fused": 0.0})
        most["separate"] = max(most["separate"], float(separate))
        most["fused"] = max(most["fused"], float(fused))
    return lines, found


def measure(speed, case, layouts, threads, rounds):
    """Medians of both programs' seconds for each layout of PyTorch's, and of their ratios: elapsed, of processors."""
    ours = Peer([speed, "serve", case, str(threads)])
    theirs = {
        layout: Peer([sys.executable, str(HERE / "peer.py"), case, str(threads), layout]) for layout in layouts
    }
    names = ["ours", *layouts]
    times = {name: [] for name in names}
    for _ in range(rounds):
        for name, peer in zip(names, [ours, *theirs.values()]):
            times[name].append(peer.seconds())

    def median(values):
        return tuple(map(statistics.median, zip(*values)))

    def ratio(layout):
        pairs = zip(times["ours"], times[layout])
        return median([(other[0] / own[0], other[1] / own[1]) for own, other in pairs])

    memory = {"ours": ours.memory()} | {layout: peer.memory() for layout, peer in theirs.items()}
    return {name: median(times[name]) for name in names}, {layout: ratio(layout) for layout in layouts}, memory


def main():
    options = argparse.ArgumentParser()
    options.add_argument("speed")
    options.add_argument("--only", default="")
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--json", default="target/bench-peers.json")
    options = options.parse_args()
    lines, peak = peaks(options.speed)
    print("peak: instruction set, threads, GFLOP/s of multiplications and additions, GFLOP/s of fused ones")
    print("\n".join(f"  {line}" for line in lines))
    print(
        f"{'case':<16}{'threads':>7}{'PyTorch':>9}{'ours':>12}{'theirs':>12}{'ratio':>7}{'to reach':>9}{'met':>5}"
        f"{'busy':>7}{'GFLOP/s':>9}{'of peak':>9}{'MB':>7}{'theirs':>8}"
    )
    rows = []
    for case, layouts, operations, samples, *least in CASES:
        for threads in (1, 2):
            names = {layout: f"{case} {threads}, PyTorch {layout}" for layout in layouts}
            if not any(options.only in name for name in [*names.values(), f"{case} {threads}, memory"]):
                continue
            seconds, ratios, memory = measure(options.speed, case, layouts, threads, options.rounds)
            rate = operations / seconds["ours"][0] / 1e9
            share = rate / peak[threads]["separate"] if threads in peak else None
            for layout in layouts:
                unit = "samples/s" if samples else "GFLOP/s"
                amount = samples or operations / 1e9
                row = {
                    "case": case, "threads": threads, "layout": layout, "unit": unit, "name": names[layout],
                    "ours": amount / seconds["ours"][0], "theirs": amount / seconds[layout][0],
                    "ratio": ratios[layout][0], "to_reach": least[threads - 1],
                    "busy_s": seconds["ours"][1], "busy_s_theirs": seconds[layout][1], "busy_ratio": ratios[layout][1],
                    "gflops": rate, "share_of_peak": share,
                    "memory": memory["ours"], "memory_theirs": memory[layout],
                }  # fmt: skip
                rows.append(row)
                reach = row["to_reach"]
                met = "" if reach is None else ("yes" if row["ratio"] >= reach else "NO")
                print(
                    f"{case:<16}{threads:>7}{layout:>9}{row['ours']:>12.1f}{row['theirs']:>12.1f}{row['ratio']:>7.2f}"
                    f"{reach or '':>9}{met:>5}{row['busy_ratio']:>7.2f}{rate:>9.1f}{f'{share:.0%}' if share else '':>9}"
                    f"{row['memory'] / 1e6:>7.0f}{row['memory_theirs'] / 1e6:>8.0f}",
                    flush=True,
                )
    pathlib.Path(options.json).write_text(json.dumps({"peak": peak, "rows": rows}, indent=1))


main()
