import threading

import pytest

from mien.background import in_background


def test_answer_comes_from_another_thread():
    assert in_background(threading.get_ident).result() != threading.get_ident()


def test_error_is_raised_where_the_answer_is_wanted():
    def fail():
        raise ValueError("nothing heard")

    with pytest.raises(ValueError, match="nothing heard"):
        in_background(fail).result()


def test_nobody_waits_for_work_that_is_no_longer_wanted():
    never = threading.Event()
    future = in_background(never.wait)
    assert not future.done()
    assert all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread())
    never.set()
    assert future.result(timeout=5)
