"""Soak of the sandbox: thousands of executions, some hostile, some processes killed; then nothing may be left or lost.

    python -m tests.soak --executions 10000 --hostile 0.05 --kill 0.005

Prints one line of JSON. Exit code 1 when a descriptor, thread, process or file is left, memory grew by more than
`--growth` MB over the second half, a secret was found, a result was lost, or a benign program gave another result than
the first time. Run by hand: it takes some minutes for every thousand executions.
"""

import argparse
import collections
import hashlib
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path

from recoder_jax.charts.execution import Execution, Limits, Status
from recoder_jax.charts.sandbox import Sandbox
from tests.hostile_corpus import Hostile, World, command_of, corpus, descendants, state_of

HEAD = '''import numpy as np
import matplotlib.pyplot as plt
from matplotlib.patches import Circle
rng = np.random.default_rng({seed})
x = np.linspace(0, 10, 50)
y = np.sin(x) + rng.normal(0, 0.1, 50)
'''
BENIGN = {
    'line': 'plt.plot(x, y, "o-", label="a"); plt.plot(x, -y, "--", label="b"); plt.legend(); plt.grid(True)',
    'scatter': 'plt.scatter(x, y, c=y, s=30 + 20 * y ** 2, cmap="plasma"); plt.colorbar(label="value")',
    'bars': 'for i in range(3): plt.bar(np.arange(4) + i * 0.25, rng.random(4), 0.25, label=f"g{{i}}")\nplt.legend()',
    'barh': 'plt.barh(["one", "two", "three"], rng.random(3), xerr=0.1, color=["tab:red", "tab:blue", "tab:green"])',
    'pie': 'plt.pie(1 + rng.random(5), labels=list("abcde"), autopct="%1.1f%%", explode=[0, 0.1, 0, 0, 0])',
    'hist': 'plt.hist([rng.normal(size=200), rng.normal(1, 2, 200)], bins=20, stacked=True, density=True)',
    'image': 'plt.imshow(rng.random((20, 30)), interpolation="bilinear"); plt.colorbar(shrink=0.8)',
    'mesh': 'plt.pcolormesh(*np.meshgrid(x, x), np.outer(y, y), shading="gouraud"); plt.axis("equal")',
    'contour': 'c = plt.contour(x, x, np.outer(y, y)); plt.clabel(c); plt.contourf(x, x, np.outer(y, y), alpha=0.4)',
    'polar': 'ax = plt.subplot(projection="polar"); ax.plot(x, x); ax.bar(x[:8], x[:8], width=0.3, alpha=0.5)',
    'surface': 'a = plt.subplot(projection="3d"); a.plot_surface(*np.meshgrid(x[:9], x[:9]), np.outer(y, y)[:9, :9])',
    'boxes': 'plt.boxplot(list(rng.normal(size=(4, 30))), notch=True); plt.violinplot(list(rng.normal(size=(4, 30))))',
    'stack': 'plt.stackplot(x, y + 2, y + 3, labels=["a", "b"]); plt.fill_between(x, y, y - 1, hatch="//", alpha=0.3)',
    'stem': 'plt.stem(x[:15], y[:15]); plt.step(x, y - 2, where="mid"); plt.errorbar(x, y + 2, yerr=0.2, capsize=3)',
    'grid': 'f, a = plt.subplots(2, 2, sharex=True)\nfor i, o in enumerate(a.flat): o.plot(x, y * i); o.set_title(i)\n'
            'f.suptitle("grid"); f.tight_layout()',
    'twin': 'a = plt.gca(); a.plot(x, y, "r"); b = a.twinx(); b.semilogy(x, np.exp(x), "b"); b.set_ylabel("exp")',
    'arrows': 'plt.quiver(x[::5], y[::5], 1, y[::5]); plt.annotate("peak", (2, 1), (5, 2), arrowprops={{"width": 1}})',
    'stream': 'g = np.mgrid[-2:2:20j, -2:2:20j]; plt.streamplot(g[1][0], g[0][:, 0], -g[0], g[1], color=g[0])',
    'patches': 'plt.gca().add_patch(Circle((0.5, 0.5), 0.2, fc="y", ec="k")); plt.text(0, 0, r"$\\frac{{a}}{{b}}$")',
    'table': 'plt.axis("off"); plt.table(rng.random((3, 3)).round(2).tolist(), colLabels=list("abc"), loc="center")',
}
VARIANTS = 4
WAITING = 0.1         # share kept of the hostile programs that run until their deadline


@dataclass
class Count:
    """What has happened so far."""

    statuses: collections.Counter = field(default_factory=collections.Counter)
    killed: collections.Counter = field(default_factory=collections.Counter)
    slow: int = 0
    lost: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    memory: list[tuple[int, float, float]] = field(default_factory=list)    # executions, MB here, MB of a server


@dataclass(frozen=True)
class Usage:
    """What is held while nothing runs."""

    descriptors: int
    threads: int
    processes: int
    files: int


def main() -> int:
    parser = argparse.ArgumentParser(prog='python -m tests.soak', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--executions', type=int, default=10_000)
    parser.add_argument('--hostile', type=float, default=0.05, help='share of hostile programs')
    parser.add_argument('--kill', type=float, default=0.0, help='processes killed for each execution')
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--seconds', type=float, default=10.0, help='wall time of one program')
    parser.add_argument('--replay', default='required', choices=('required', 'preferred', 'off'))
    parser.add_argument('--tier', default=None)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--growth', type=float, default=24.0, help='MB that memory may grow over the second half')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix='soak-') as folder, World() as world:
        tempfile.tempdir = folder
        before = usage(folder)
        with Sandbox(options.workers, Limits(seconds=options.seconds, memory_mb=1024, file_mb=4), seed=options.seed,
                     replay=options.replay, tier=options.tier) as sandbox:
            sandbox.execute_all([f'x = {number}' for number in range(8 * options.workers)])
            started, start = usage(folder), time.monotonic()
            count = run(sandbox, world, options)
            seconds, tier = time.monotonic() - start, sandbox.tier
            idle, tree = settled(folder, started), processes()
        after = settled(folder, before)
        damage = world.damage()
        tempfile.tempdir = None
    return report(count, options, tier, seconds, [before, started, idle, after], tree, damage)


def run(sandbox: Sandbox, world: World, options: argparse.Namespace) -> Count:
    """Keeps the pool busy until all executions are done."""
    dice = random.Random(options.seed)
    benign = {f'{name}/{seed}': f'{HEAD.format(seed=seed)}{code.format()}\nplt.title("{name} {seed}")\n'
              for name, code in BENIGN.items() for seed in range(VARIANTS)}
    hostile = list(corpus().values())
    count, first, flying, submitted, done = Count(), {}, {}, 0, 0
    hit, start = set(), time.monotonic()          # programs in flight at the last kill
    while done < options.executions:
        while submitted < options.executions and len(flying) < 3 * options.workers:
            submitted += 1
            program = pick(hostile, dice) if dice.random() < options.hostile else dice.choice(list(benign))
            text = world.fill(program.text) if isinstance(program, Hostile) else benign[program]
            flying[sandbox.submit(text)] = program
        finished, _ = wait(flying, timeout=120 + 4 * options.seconds, return_when=FIRST_COMPLETED)
        if not finished:
            count.lost += [f'no answer for {program}' for program in flying.values()]
            return count
        for future in finished:
            done += 1
            judge(flying.pop(future), future, first, count, sandbox, world, benign)
            if dice.random() < options.kill and not hit & flying.keys():      # a program is tried twice, not more
                hit = set(flying)
                kill_one(sandbox, dice, count)
            if done % max(1, options.executions // 50) == 0:
                count.memory.append((done, resident(os.getpid()), max(map(resident, servers(sandbox)), default=0)))
                print(f'{done}/{options.executions}  {done / (time.monotonic() - start):.1f}/s  {dict(count.statuses)}'
                      f'  {count.memory[-1][1]:.0f} MB here, {count.memory[-1][2]:.0f} MB in a server', file=sys.stderr)
    return count


def pick(hostile: list[Hostile], dice: random.Random) -> Hostile:
    while True:
        program = dice.choice(hostile)
        if program.runs_here and ('timeout' not in program.expect or dice.random() < WAITING):
            return program


def judge(program: Hostile | str, future: Future, first: dict, count: Count, sandbox: Sandbox, world: World,
          benign: dict[str, str]) -> None:
    """Counts one result; a benign program is compared with its first result."""
    execution: Execution = future.result()
    count.statuses[execution.status.value] += 1
    if isinstance(program, Hostile):
        count.leaks += [f'{program.name}: {leak}' for leak in world.leaks(execution)]
        return
    if execution.status is Status.timeout:
        count.slow += 1
        execution = sandbox.execute(benign[program])
    if not execution.ok:
        count.lost.append(f'{program}: {execution.status.value} {execution.log[-200:]}')
        return
    result = hashlib.sha256(execution.render.tobytes()).hexdigest(), execution.elements
    if result != first.setdefault(program, result):
        count.changed.append(program)


def kill_one(sandbox: Sandbox, dice: random.Random, count: Count) -> None:
    """Kills a fork server, or any process below one: a program, a replayer."""
    server = dice.choice(sandbox.server_pids)
    below = sorted(descendants(server))
    victim = dice.choice([server, *below, *below])
    try:
        os.kill(victim, signal.SIGKILL)
        count.killed['server' if victim == server else 'below'] += 1
    except ProcessLookupError:
        pass


def servers(sandbox: Sandbox) -> set[int]:
    return {pid for server in sandbox.server_pids for pid in {server, *descendants(server)}}


def resident(pid: int) -> float:
    """Resident memory in MB; 0 for a process that is gone."""
    try:
        with open(f'/proc/{pid}/statm') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 1e6
    except (OSError, IndexError):
        return 0.0


def processes() -> list[str]:
    """Id, parent, state and command of everything below this process."""
    rows = []
    for pid in sorted(descendants()):
        try:
                parent = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[1]
        except OSError:
            continue
        rows.append(f'{pid} below {parent} {state_of(pid)} {command_of(pid)}')
    return rows


def usage(folder: str) -> Usage:
    files = sum(len(folders) + len(names) for _, folders, names in os.walk(folder))
    return Usage(len(os.listdir('/proc/self/fd')), threading.active_count(), len(descendants()), files)


def settled(folder: str, wanted: Usage) -> Usage:
    """Usage as soon as it is the wanted one, at the latest after five seconds."""
    patience = time.monotonic() + 5
    while (found := usage(folder)) != wanted and time.monotonic() < patience:
        time.sleep(0.1)
    return found


def report(count: Count, options: argparse.Namespace, tier: str, seconds: float, usages: list[Usage],
           tree: list[str], damage: list[str]) -> int:
    """Prints the result; returns the exit code."""
    before, started, idle, after = usages
    half, tail = ([row for row in count.memory if low <= row[0] / options.executions <= high]
                  for low, high in ((0.48, 0.62), (0.88, 1.0)))
    growth = [round(statistics.median(row[i] for row in tail) - statistics.median(row[i] for row in half), 1)
              if half and tail else None for i in (1, 2)]
    wrong = {'lost': count.lost[:20], 'changed': count.changed[:20], 'leaks': count.leaks[:20], 'damage': damage,
             'held while idle': [str(started), str(idle), *tree] if idle != started else [],
             'held after close': [str(before), str(after)] if after != before else [],
             'growth': growth if any(value is None or value > options.growth for value in growth) else []}
    failed = {name: value for name, value in wrong.items() if value}
    print(json.dumps({
        'executions': options.executions, 'hostile': options.hostile, 'tier': tier, 'replay': options.replay,
        'workers': options.workers, 'per_second': round(options.executions / seconds, 2), 'seconds': round(seconds, 1),
        'statuses': dict(count.statuses), 'killed': dict(count.killed), 'slow': count.slow, 'lost': len(count.lost),
        'changed': len(count.changed), 'leaks': len(count.leaks), 'growth_mb_here': growth[0],
        'growth_mb_server': growth[1], 'passed': not failed, 'failed': failed}))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
