"""Where and when a measurement was made."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version


def machine(packages: Sequence[str]) -> dict[str, object]:
    """Processor, cores this process may use, load of the last minute, date in UTC, versions of Python and packages."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in packages},
    }


class Elsewhere:
    """Share of all cores' time that other processes had since it was made, 0 to 1; None where the system does not tell."""

    def __init__(self):
        self._began = _core_seconds()

    def share(self) -> float | None:
        now = _core_seconds()
        if now is None or self._began is None:
            return None
        busy, own, total = (after - before for after, before in zip(now, self._began, strict=True))
        return min(1.0, max(0.0, (busy - own) / total)) if total else None


def _core_seconds() -> tuple[float, float, float] | None:
    """Seconds of all cores so far: busy, busy with this process, and in all (Linux: /proc/stat)."""
    try:
        with open("/proc/stat", encoding="utf-8") as file:
            ticks = [int(word) for word in file.readline().split()[1:9]]  # user nice system idle iowait irq softirq steal
    except (OSError, ValueError):
        return None
    second, idle = os.sysconf("SC_CLK_TCK"), ticks[3] + ticks[4]
    own = os.times()
    return (sum(ticks) - idle) / second, own.user + own.system, sum(ticks) / second


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
