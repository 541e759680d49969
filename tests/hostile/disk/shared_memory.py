"""Fills the shared memory of the machine.
expect: error|forbidden
"""
with open('/dev/shm/@mark@-shared_memory', 'wb') as file:
    for _ in range(100):
        file.write(bytes(1 << 20))
raise RuntimeError('BROKEN /dev/shm')
