"""Run every cell of the chapters twice in a row, as readers do.

A pytest plugin beside nbval: when a cell has run and its output was compared, the cell runs again
and its output is compared again. A cell that changes what it reads (`images = images[:20]`) fails
here, or makes a later cell fail. The random generators are set back before the second run, so that
a cell that draws random numbers draws the same ones.
"""

import inspect
import random
import sys
import time

import pytest
from nbval.plugin import IPyNbCell, NbCellError

# The few cells that train for a minute are not run twice, for the sake of whoever waits.
SLOW = 25.0  # seconds


# These two functions run in the notebook's kernel. They keep what they need where no cell looks.


def remember():
    """Keep the state of every random generator that the notebook has loaded."""
    sys.states = {"random": random.getstate()}
    if "numpy" in sys.modules:
        sys.states["numpy"] = sys.modules["numpy"].random.get_state()
    if "torch" in sys.modules:
        sys.states["torch"] = sys.modules["torch"].get_rng_state()


def rewind():
    """Set the random generators back to what was kept."""
    random.setstate(sys.states["random"])
    if "numpy" in sys.states:
        sys.modules["numpy"].random.set_state(sys.states["numpy"])
    if "torch" in sys.states:
        sys.modules["torch"].set_rng_state(sys.states["torch"])


def call(kernel, function) -> None:
    """Call a function of this file in the kernel, without leaving a name there."""
    source = f"import random, sys\n{inspect.getsource(function)}\n{function.__name__}()"
    message = kernel.execute_cell_input(f"exec({source!r}, {{}})", allow_stdin=False)
    kernel.await_reply(message, timeout=60)
    kernel.await_idle(message, timeout=60)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    if not isinstance(item, IPyNbCell) or not item.parent.kernel.is_alive():
        return (yield)
    item.output_timeout = 60  # seconds, where nbval gives a busy machine 5
    call(item.parent.kernel, remember)
    start = time.monotonic()
    result = yield
    if time.monotonic() - start < SLOW:
        call(item.parent.kernel, rewind)
        try:
            item.runtest()
        except NbCellError as error:
            error.args = (f"{error} (when the cell is run a second time)", *error.args[1:])
            raise
    return result
