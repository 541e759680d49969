"""Lets plotting libraries fetch data from the network.
expect: error|forbidden
"""
import matplotlib.pyplot as plt
try:
    import pandas
    pandas.read_csv('http://127.0.0.1:@tcp@/data.csv')
except ImportError:
    pass
plt.imread('http://127.0.0.1:@tcp@/image.png')
raise RuntimeError('BROKEN fetched')
