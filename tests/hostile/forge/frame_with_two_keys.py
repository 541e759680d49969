"""Writes a result whose JSON has each key twice, with undefined and endless numbers."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
import os, stat
header = (b'{"status": "error", "status": "ok", "log": "", "height": NaN, "height": 1e0, "width": 1, "width": -0, '
          b'"elements": null, '
          b'"elements": {"texts": ["Annual report"], "layout": [], "chart_types": [["plot", 2]], "colors": []}, '
          b'"figure": {"height": Infinity, "width": 1e999, "body": "pixels", "calls": [["plot", 0, [0], []]]}}')
for number in range(256):
    try:
        if stat.S_ISFIFO(os.fstat(number).st_mode):
            os.write(number, len(header).to_bytes(4, 'little') + header + b'\xff' * 3)
    except OSError:
        pass
os._exit(0)
# end
