"""The states that a worker wrote last, kept on its GPU: what it reads next need not be decoded and moved."""

from collections import OrderedDict

from torch import Tensor

from fedbench_core.federation.node_state import NodeState


class RecentStates:
    """States by the digest of their file, so that one from here equals the one in the file.

    limit_bytes: of all tensors together; the state that was not used for longest is dropped first, and one that is
    larger than this is not kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = self._left = limit_bytes
        self._states: OrderedDict[str, NodeState] = OrderedDict()

    @property
    def enabled(self) -> bool:
        """Whether any state can be kept."""
        return self._limit > 0

    def get(self, digest: str) -> NodeState | None:
        """The state of a file, None if it is not here."""
        if digest in self._states:
            self._states.move_to_end(digest)
        return self._states.get(digest)

    def put(self, digest: str, state: NodeState) -> None:
        """Keep a state, which nobody may change from now on."""
        if not self.enabled or digest in self._states or (size := _size(state)) > self._limit:
            return
        self._states[digest] = state
        self._left -= size
        while self._left < 0:
            self._left += _size(self._states.popitem(last=False)[1])


def _size(state: NodeState) -> int:
    networks = [one.tensors for one in (*state.models.values(), *state.modules.values())]
    memories = [state.memory, *state.compressors.values()]
    return sum(v.nbytes for group in (*networks, *memories) for v in group.values() if isinstance(v, Tensor))
