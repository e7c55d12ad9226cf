"""The scheduler with a pool that answers at once, so that its order does not depend on time."""

from collections import deque

from fedbench_core.federation.executors.scheduler import Answers, LostError, NotStarted, Scheduler


class Pool:
    """Two workers, one of which is lost once, with the batch that has the task `lost`."""

    workers = 2

    def __init__(self, lost: int) -> None:
        self.lost, self.sent, self.calls = lost, deque(), 0

    def room(self, depth: int) -> int:
        return self.workers * depth - len(self.sent)

    def send(self, batch) -> None:
        self.sent.append(batch)

    def receive(self, *, wait: bool):
        self.calls += 1
        assert self.sent or self.calls < 1000, "nothing is out, and nothing is sent"
        if not self.sent:
            return []
        batch = self.sent.pop() if len(self.sent) > 1 else self.sent.popleft()  # the later batch is ready first
        if any(task == self.lost for _, task in batch):
            self.lost = -1
            others = [(other, NotStarted()) for other in self.sent]
            self.sent.clear()
            return [(batch, LostError("died")), *others]
        return [(batch, Answers([task * 2 for _, task in batch], 0.001 * len(batch)))]

    def working(self) -> list:
        return [batch[0][1] for batch in self.sent]

    def discard(self) -> None:
        self.sent.clear()

    def close(self) -> None:
        self.discard()


def test_short_tasks_go_on_in_order_after_a_worker_is_lost() -> None:
    for lost in (0, 1, 7, 40, 99):
        results = list(Scheduler(Pool(lost), batches=True).run(range(100)))
        assert results == [(task, task * 2) for task in range(100)]


def test_task_that_always_loses_its_worker_ends_with_the_error() -> None:
    class Cursed(Pool):
        def receive(self, *, wait: bool):
            received = super().receive(wait=wait)
            self.lost = 5
            return received

    results = dict(Scheduler(Cursed(5), batches=True).run(range(20)))
    assert isinstance(results.pop(5), LostError)
    assert results == {task: task * 2 for task in range(20) if task != 5}


def test_last_tasks_are_sent_longest_first() -> None:
    class Noting(Pool):
        def send(self, batch) -> None:
            order.extend(task for _, task in batch)
            super().send(batch)

    order: list[int] = []
    results = list(Scheduler(Noting(-1)).run(range(20), cost=float))
    assert results == [(task, task * 2) for task in range(20)]
    window = 2 * Pool.workers + 2
    assert order[: 20 - window] == list(range(20 - window)), "the others in order, so that few results wait"
    assert order[20 - window :] == list(reversed(range(20 - window, 20)))


def test_a_worker_has_its_next_task_before_the_caller_gets_a_result() -> None:
    pool = Pool(-1)
    results = Scheduler(pool, in_order=False).run(range(20))
    next(results)
    assert len(pool.sent) >= pool.workers


def test_last_batches_are_short_so_that_workers_end_together() -> None:
    class Noting(Pool):
        def send(self, batch) -> None:
            lengths.append(len(batch))
            super().send(batch)

    lengths: list[int] = []
    list(Scheduler(Noting(-1), batches=True).run(range(100)))
    assert max(lengths) == 8
    assert lengths[-4:] == [1, 1, 1, 1]
