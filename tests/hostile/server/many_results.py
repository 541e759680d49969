"""Writes a hundred complete results that say it went well.
expect: error|forbidden
"""
import json, os, stat
header = json.dumps({'status': 'no_figure', 'log': 'first'}).encode()
for number in range(3, 256):
    try:
        if stat.S_ISFIFO(os.fstat(number).st_mode):
            for _ in range(100):
                os.write(number, len(header).to_bytes(4, 'little') + header)
    except OSError:
        pass
raise RuntimeError('second')
