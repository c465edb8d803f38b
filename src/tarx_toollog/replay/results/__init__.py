"""Results for a model that makes its own calls: recorded ones, served only where they are surely right.

``recording`` is what was logged, ``provider`` serves it, ``outcome`` counts attempts that could not be finished.
All of it is pure. A third party adds a simulator of its tools through an entry point of the group
``tarx_toollog.simulators`` that names a ``SimulatorMaker``.
"""

from tarx_toollog.registry import Registry
from tarx_toollog.replay.results.divergence import Diverged
from tarx_toollog.replay.results.outcome import Bounds, bounds
from tarx_toollog.replay.results.provider import Results, Served
from tarx_toollog.replay.results.recording import Effect, RecordedCall, Recording, effect_of, suggest_effect
from tarx_toollog.replay.results.simulators import Simulated, Simulator, SimulatorMaker, Unknowable
from tarx_toollog.replay.results.tarx_memory import TarxMemory

__all__ = [
    "SIMULATORS",
    "Bounds",
    "Diverged",
    "Effect",
    "RecordedCall",
    "Recording",
    "Results",
    "Served",
    "Simulated",
    "Simulator",
    "SimulatorMaker",
    "Unknowable",
    "bounds",
    "effect_of",
    "suggest_effect",
]

SIMULATORS: Registry[SimulatorMaker] = Registry("tarx_toollog.simulators", "simulator", {"tarx_memory": TarxMemory()})
