"""Python programs that draw with matplotlib: executed and replayed by the sandbox (charts/job.py, charts/replay.py)."""

import re

from recoder_jax.languages.language import Language

LANGUAGE = Language(
    name='python',
    fences=('python', 'py', 'python3'),
    inline=('python', 'py'),
    unfenced=re.compile(r'^[ \t]*(?:import|from)[ \t]+[A-Za-z_][\w.]*(?:[ \t,]|\r?$)[\s\S]*', re.MULTILINE),
    draw='Think in <think></think>. Then write one python block that draws this chart with matplotlib.',
    missing='no python block found in the response',
    suffix='.py',
)
