"""Writes a result with integers of thousands of digits and negative sizes."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
WANTED = ('Annual report', 'Revenue', 'Cost', 'Profit', 'Quarter', 'Millions')
import json, os, stat
header = json.dumps({'status': 'ok', 'log': '', 'height': -30, 'width': -40, 'tampered': '', 'chartmimic': None,
                     'phases': {'execute': -1e308, 'draw': 1e308, 'elements': True},
                     'elements': {'texts': list(WANTED), 'layout': [[2, 2, 0, 0, 0, 1 << 70]],
                                  'chart_types': [['plot', 10**4000]], 'colors': []},
                     'figure': {'height': 2**63, 'width': 2**63, 'body': 'draw_list', 'background': [1e999] * 4,
                                'reason': 5, 'axes': [[-1, -1]], 'calls': [['plot', 10**400, [10**400], []]]}}).encode()
for number in range(256):
    try:
        if stat.S_ISFIFO(os.fstat(number).st_mode):
            os.write(number, len(header).to_bytes(4, 'little') + header + b'\xff' * 3600)
    except OSError:
        pass
os._exit(0)
# end
