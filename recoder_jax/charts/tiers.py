"""The layers of isolation, the tiers they make up, and what a machine without some of them leaves open."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """One wall: what it covers, and what is open to a program where it is missing."""

    covers: str
    without: str


LAYERS = {
    'limits': Layer('address space, CPU time, file size, descriptors, core files, message queues',
                    'memory and CPU time of the machine'),
    'thread_limit': Layer('number of threads', 'programs cannot start threads: their number could not be bounded'),
    'no_new_privs': Layer('no privilege through set-user-id files', 'privilege through set-user-id files'),
    'no_capabilities': Layer('no capability of root', 'what the capabilities of the caller allow'),
    'ordinary_user': Layer('the user of the program is not root',
                           'the user of the program is root, without capabilities'),
    'network_namespace': Layer('no network interface but an unconfigured loopback',
                               'the network is there; only the filter and Landlock keep programs from it'),
    'ipc_uts_namespaces': Layer('no System V objects and no host name of others',
                                'the host name can be read'),
    'pid_namespace': Layer('no process outside has a number; all processes end with the fork server',
                           'processes outside have numbers; only the filter keeps signals from them'),
    'private_root': Layer('nothing of the file system exists but read-only system paths and the scratch directory',
                          'whether a path exists outside, its size and its times can be asked'),
    'scratch_quota': Layer('total size and number of files a program leaves',
                           'the disk: size and number of files are looked at ten times a second only'),
    'landlock': Layer('files outside system paths and the scratch directory cannot be opened or changed',
                      'files are kept from programs by the private root alone'),
    'landlock_scopes': Layer('no signal and no abstract socket to any other process',
                             'signals to others are kept back by the filter alone'),
    'seccomp': Layer('no process, exec, socket, trace, mount, mode, owner or time change',
                     'every system call that the user of the program may make'),
}


@dataclass(frozen=True)
class Tier:
    """A set of layers that goes together.

    Attributes:
        needs: layers without which a machine is not in this tier.
        meaning: one line for the report.
    """

    needs: tuple[str, ...]
    meaning: str


_BASE = ('limits', 'no_new_privs', 'seccomp')
_NAMESPACES = ('network_namespace', 'ipc_uts_namespaces', 'pid_namespace', 'private_root', 'scratch_quota')
# From the highest to the lowest.
TIERS = {
    'full': Tier((*_BASE, *_NAMESPACES), 'namespaces set up by root, then an ordinary user without capabilities'),
    'user_namespaces': Tier((*_BASE, *_NAMESPACES), 'namespaces set up inside a user namespace'),
    'container': Tier((*_BASE, 'landlock'), 'no namespaces: Landlock, system call filter and limits'),
    'no_landlock': Tier(_BASE, 'no namespaces and no Landlock: no file can be read, written or imported'),
}
NO_TIER = 'none'
# In the tier no_landlock the filter stands in for these: no path can be opened, asked for, made or removed.
_CLOSED = ('private_root', 'scratch_quota', 'landlock')
_NO_TIER_MEANING = 'below every tier: programs run with the layers named above and nothing else'
_ALWAYS_OPEN = (
    'errors of the kernel, and what processor caches and timing tell',
    'time of the processor up to the deadline',
    'system paths (packages, shared libraries, fonts) can be read where files can be opened',
)


def tier_of(layers: dict[str, bool], by_root: bool) -> str:
    """The highest tier whose layers hold; `by_root`: the namespaces were entered without a user namespace."""
    for name, tier in TIERS.items():
        if all(layers[layer] for layer in tier.needs) and (by_root or name != 'full'):
            return name
    return NO_TIER


def refusal(isolation: str, layers: dict[str, bool], tier: str) -> str:
    """Why a fork server must not run programs under this isolation ('auto', 'strict', 'forced'); '' when it may."""
    missing = [name for name, holds in layers.items() if not holds]
    if isolation == 'strict' and missing:
        return (f"isolation 'strict' needs every layer and {', '.join(missing)} is missing; "
                f"use 'auto' or another machine")
    if isolation == 'auto' and tier == NO_TIER:
        lacking = [name for name in TIERS['no_landlock'].needs if not layers[name]]
        return (f"{', '.join(lacking)} is missing, below every tier; use another machine, "
                f"or isolation='forced' to run anyway")
    return ''


def guest_refusal(language: str, needed: tuple[str, ...], layers: dict[str, bool], tier: str) -> str:
    """Why a fork server must not start the guest of a language's renderer; '' when it may."""
    missing = [name for name in needed if not layers[name]]
    return missing and (f"programs in {language} are rendered by another program, which is not started without {', '.join(missing)} (tier {tier}); "
                        f"run as root or where user namespaces are allowed") or ''


def summary(layers: dict[str, bool], tier: str) -> str:
    """One line for the log of a run."""
    missing = [name for name, holds in layers.items() if not holds]
    return f'sandbox in tier {tier}, ' + (f'without {", ".join(missing)}' if missing else 'every layer holds')


def report(layers: dict[str, bool], tier: str) -> str:
    """Tier, layers, what is covered and what is not."""
    meaning = TIERS[tier].meaning if tier in TIERS else _NO_TIER_MEANING
    lines = [f'tier {tier}: {meaning}', '', 'layers']
    lines += [f'  {"holds  " if holds else "MISSING"}  {name:<20}{LAYERS[name].covers}'
              for name, holds in layers.items()]
    lines += ['', 'not covered in this tier']
    stood_in = _CLOSED if tier == 'no_landlock' else ()
    lines += [f'  {LAYERS[name].without}' for name, holds in layers.items() if not holds and name not in stood_in]
    return '\n'.join(lines + [f'  {text}' for text in _ALWAYS_OPEN])
