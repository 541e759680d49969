"""Finds commands through libraries: browser, find_library, platform, help.
expect: error
"""
import ctypes.util, platform, webbrowser
for run in (lambda: ctypes.util.find_library('m'), lambda: platform.processor(),
            lambda: webbrowser.open('file://@secret@')):
    try:
        run()
    except OSError:
        pass
raise RuntimeError('nothing')
