"""Virtual time: an asyncio event loop whose clock jumps from timer to timer.

`run` executes an anyio or asyncio program in which an hour of sleep takes microseconds;
`anyio.sleep`, `move_on_after`, `fail_after` and `current_time` all follow the loop's clock.
What happens, and in which order, is a function of the program alone:

- Timers go off in the order of their stamps, equal stamps in the order in which they were
  set. A stamp in the past means now, after whatever is due now already.
- The clock moves only when nothing is ready, and then to the stamp of the next timer exactly.
- When nothing is ready and no timer is set, nothing can ever happen: `DeadlockError`.
- What happens outside the loop takes no virtual time, so nothing may wait for it: executors,
  sockets, pipes and processes are refused at the call, and a callback handed over by another
  thread (that is how `anyio.to_thread` returns) makes the loop fail at its next step.

One thing asyncio does not order: a task group cancels its children in no particular order.
Where that matters, give each child a cancel scope and cancel these one by one.
"""

from asynctune.virtualtime._loop import REFUSED as REFUSED
from asynctune.virtualtime._loop import VirtualTimeLoop as VirtualTimeLoop
from asynctune.virtualtime._run import current_loop as current_loop
from asynctune.virtualtime._run import in_virtual_time as in_virtual_time
from asynctune.virtualtime._run import run as run
