"""Starts workers with multiprocessing and concurrent.futures.
expect: error
"""
import concurrent.futures, multiprocessing, time
done = []
for method in ('fork', 'spawn', 'forkserver'):
    try:
        multiprocessing.get_context(method).Process(target=time.sleep, args=(30,)).start()
        done.append(method)
    except OSError:
        pass
try:
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        done.append(list(pool.map(abs, [1])))
except OSError:
    pass
raise RuntimeError(f'BROKEN {done}' if done else 'nothing')
