"""Silencing what C++ writes must never cost the process its standard error."""

import os
import threading

from mien.perception.quiet import quiet


def test_threads_that_are_quiet_at_once_give_standard_error_back():
    before, inside, leave = os.fstat(2), threading.Event(), threading.Event()

    def first():
        with quiet():
            inside.set()
            leave.wait(5)

    def second():
        inside.wait(5)
        threading.Timer(0.05, leave.set).start()
        with quiet():
            threads[0].join(5)  # leaves after the first, whatever came first

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert os.path.samestat(os.fstat(2), before)
