"""Reads the run directory and the source of the trainer.
expect: error
"""
import glob, os
loot = []
for path in ('@cwd@/run.txt', '@cwd@/rollouts/step_1.jsonl', *glob.glob('@cwd@/*')):
    try:
        loot.append(open(path).read())
    except OSError:
        pass
raise RuntimeError(str(loot))
