"""Writes kernel settings and its own limits under /proc and /sys, with the values they have.
expect: error
"""
done = []
for path in ('/proc/sys/kernel/core_pattern', '/proc/sys/vm/overcommit_memory', '/proc/sys/kernel/randomize_va_space',
             '/sys/kernel/mm/transparent_hugepage/enabled', '/proc/self/oom_score_adj', '/proc/self/coredump_filter'):
    try:
        value = open(path).read().split('\0')[0].strip()
        with open(path, 'w') as file:
            file.write(value.split('[')[-1].split(']')[0])
        done.append(path)
    except OSError:
        pass
raise RuntimeError(f'BROKEN {done}' if done else 'nothing')
