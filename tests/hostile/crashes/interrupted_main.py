"""Interrupts the main thread again and again from another one.
expect: error|ok|forbidden|killed|internal|timeout
"""
import _thread, ctypes, threading
import matplotlib.pyplot as plt
plt.plot([1])
main = threading.main_thread().ident


def interrupt():
    while True:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(main), ctypes.py_object(SystemExit))
        _thread.interrupt_main()


threading.Thread(target=interrupt, daemon=True).start()
