"""When this process began: a command is asked for then, however long its imports take on a busy machine."""

import time

BEGAN_AT_S = time.time()
