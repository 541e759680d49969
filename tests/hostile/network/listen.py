"""Opens a port for others to call.
expect: forbidden|error
"""
import http.server
http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
raise RuntimeError('BROKEN listens')
