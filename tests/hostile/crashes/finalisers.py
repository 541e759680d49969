"""Runs code when objects die: raises, loops, exits.
expect: ok|error|forbidden|timeout
"""
import os
import matplotlib.pyplot as plt
plt.plot([1])


class Last:
    def __del__(self):
        raise SystemExit(1)


kept = [Last() for _ in range(1_000)]
kept.append(kept)
del kept
