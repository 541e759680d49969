"""Opens an image that unpacks to gigabytes.
expect: ok|error|memory|timeout
"""
import io, struct, zlib
import matplotlib.pyplot as plt
plt.plot([1])


def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


rows = zlib.compress(bytes(20_000_000))
picture = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 60_000, 60_000, 8, 6, 0, 0,
                                                            0)) + chunk(b'IDAT', rows)
try:
    plt.imshow(plt.imread(io.BytesIO(picture)))
except Exception:
    pass
