"""Memory and use of NVIDIA's graphics cards, where there are any."""

from __future__ import annotations

from collections.abc import Collection


class Gpus:
    """The cards that NVML knows; none without the driver or its Python package."""

    def __init__(self) -> None:
        self._cards: list[object] = []
        try:
            import pynvml
        except ImportError:
            return
        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
            count = pynvml.nvmlDeviceGetCount()
            self._cards = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
            self._before = [self._memory(card) for card in self._cards]
        except pynvml.NVMLError:
            self._cards = []

    def look(self, processes: Collection[int]) -> tuple[int | None, float | None]:
        """Return the memory (bytes) of these processes on all cards, and the cards' use (percent).

        In a container the driver does not know our process numbers; then it is what was taken on
        the cards since the start.
        """
        if not self._cards:
            return None, None
        try:
            known = sum(self._memory_of(card, processes) for card in self._cards)
            taken = sum(
                max(0, self._memory(card) - before)
                for card, before in zip(self._cards, self._before, strict=True)
            )
            rates = [self._nvml.nvmlDeviceGetUtilizationRates(card).gpu for card in self._cards]
        except self._nvml.NVMLError:
            return None, None
        return known or taken, sum(rates) / len(rates)

    def _memory(self, card: object) -> int:
        return int(self._nvml.nvmlDeviceGetMemoryInfo(card).used)

    def _memory_of(self, card: object, processes: Collection[int]) -> int:
        running = self._nvml.nvmlDeviceGetComputeRunningProcesses(card)
        return sum(one.usedGpuMemory or 0 for one in running if one.pid in processes)
