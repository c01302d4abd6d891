"""The host as verl's accelerator: nothing to switch, nothing to free, one logical GPU slot a rank."""

# verl is not in the developer's environment
# pyright: reportMissingImports=false, reportMissingModuleSource=false
from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from verl.plugin.platform import PlatformBase


def _device_module() -> types.ModuleType:
    """torch.cpu with the functions about memory and streams that verl calls on a device module."""
    module: Any = types.ModuleType("cpu_as_a_device")
    for name in ("memory_reserved", "memory_allocated", "max_memory_allocated", "max_memory_reserved"):
        setattr(module, name, lambda *_, **__: 0)
    for name in ("empty_cache", "synchronize", "ipc_collect", "reset_peak_memory_stats", "set_device", "manual_seed", "manual_seed_all"):
        setattr(module, name, lambda *_, **__: None)
    module.is_available = lambda: False  # there is no accelerator's memory to clean
    module.current_device, module.device_count, module.get_device_name = lambda: "cpu", lambda: 1, lambda *_: "CPU"
    module.mem_get_info = lambda *_: (0, 0)
    module.Stream, module.stream, module.current_stream = torch.cpu.Stream, torch.cpu.stream, torch.cpu.current_stream
    module.get_rng_state, module.set_rng_state = torch.get_rng_state, torch.set_rng_state
    return module


class CPUPlatform(PlatformBase):
    _module = _device_module()
    device_name = property(lambda self: "cpu")
    vendor_name = property(lambda self: "cpu")
    device_module = property(lambda self: self._module)

    def is_available(self) -> bool:
        return True

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        return False  # never found by itself, only asked for

    def current_device(self) -> str:
        return "cpu"

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: Any) -> None: ...

    def synchronize(self, device_index: Any = None) -> None: ...

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: Any) -> None: ...

    def empty_cache(self) -> None: ...

    def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CPU_BACKEND_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None: ...

    def profiler_stop(self) -> None: ...

    def ray_resource_name(self) -> str:
        return "GPU"  # logical slots of Ray's, which need no device behind them

    def ray_noset_envvars(self) -> list[str]:
        return []

    def is_ipc_supported(self) -> bool:
        return False

    def cudart(self) -> None:
        return None
