"""The worker process of the local executor: stages in, signals out, as lines of JSON.

The two pipes are file descriptors of their own, so that nothing that a library prints can be
taken for a signal. When the parent is gone, the worker ends itself.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path

from backbench.execution.messages import Order, decode_order, encode_signal
from backbench.execution.serial import run_guarded
from backbench.plugin.executor import Progressed
from backbench.plugin.registry import load_registry
from backbench.store.store import Store
from backbench.system.children import begin_child, end_with_group
from backbench.system.cores import pin_to
from backbench.system.interrupts import listening


def main(arguments: list[str]) -> None:
    """Serve stages until the parent closes the pipe.

    Args:
        arguments: Process number of the parent, descriptor to read from, descriptor to write to,
            store, device, cores (empty or comma-separated).
    """
    parent, read_fd, write_fd, root, device, cores = arguments
    begin_child(int(parent))
    pin_to([int(core) for core in cores.split(",") if core])
    orders: queue.Queue[Order] = queue.Queue()
    threading.Thread(target=_listen, args=(int(read_fd), orders), daemon=True).start()

    store, registry = Store(Path(root)), load_registry()
    with os.fdopen(int(write_fd), "w", encoding="utf-8", buffering=1) as out, listening():
        while True:
            stage, others = orders.get()
            key = stage.key

            def progress(
                done: int, total: int, values: Mapping[str, float], key: str = key
            ) -> None:
                shown = {name: float(value) for name, value in values.items()}  # numpy's, torch's
                out.write(encode_signal(Progressed(key, int(done), int(total), shown)))

            ended = run_guarded(stage, store, registry, device, progress, others=others)
            out.write(encode_signal(ended))


def _listen(descriptor: int, orders: queue.Queue[Order]) -> None:
    try:
        with os.fdopen(descriptor, encoding="utf-8") as lines:
            for line in lines:
                orders.put(decode_order(line))
    except BaseException:  # noqa: BLE001 - the main thread would wait for ever
        traceback.print_exc()
        end_with_group(1)
    end_with_group(0)  # the parent is gone, or has closed the pipe: no answer is needed


if __name__ == "__main__":
    main(sys.argv[1:])
