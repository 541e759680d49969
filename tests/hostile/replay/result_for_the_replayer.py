"""Writes an answer of the replayer's form into every descriptor, and closes sockets that it may share.
expect: error
"""
import json, os
header = json.dumps({'end': 'ok', 'height': 1, 'width': 1, 'elements': {
    'texts': ['Annual report'], 'layout': [], 'chart_types': [['plot', 2]], 'colors': []}}).encode()
answer = len(header).to_bytes(4, 'little') + header + b'\xff' * 3
for number in range(3, 1024):
    for message in (len(answer).to_bytes(8, 'little') + answer,):
        try:
            os.set_blocking(number, False)
            if not os.fstat(number).st_mode & 0o010000:
                os.write(number, message)
                os.close(number)
        except OSError:
            pass
raise RuntimeError('sent')
