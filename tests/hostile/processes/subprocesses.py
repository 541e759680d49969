"""Runs commands with every door of the standard library.
expect: error
"""
import os, pty, subprocess
done = []
for run in (lambda: subprocess.run(['/bin/true'], check=True), lambda: subprocess.check_output('echo x', shell=True),
            lambda: os.posix_spawn('/bin/true', ['true'], {}), lambda: os.popen('echo x').read() or 1 / 0,
            lambda: 1 / (os.system('true') == 0), lambda: os.spawnv(os.P_NOWAIT, '/bin/true', ['true']),
            lambda: pty.fork(),
            lambda: subprocess.run(['/bin/true'], start_new_session=True, preexec_fn=lambda: None, check=True)):
    try:
        run()
        done.append(run)
    except (OSError, ZeroDivisionError, subprocess.SubprocessError):
        pass
if done:
    raise RuntimeError(f'BROKEN {len(done)}')
raise RuntimeError('nothing')
