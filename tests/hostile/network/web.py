"""Fetches a page with the standard library.
expect: forbidden|error
"""
import urllib.request
raise RuntimeError(f'BROKEN {urllib.request.urlopen("http://127.0.0.1:@tcp@/", timeout=1).read()}')
