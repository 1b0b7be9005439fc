"""Who sits where: one strategy a file, over one protocol.

A strategy sees one group's [`Diff`][endpointslice.diff.Diff] and answers with a
[`Packing`][endpointslice.packing.placement.Packing]. It knows nothing of labels, names, JSON or
I/O.
"""

from endpointslice.packing.bounds import minimum_writes
from endpointslice.packing.exit_order import ExitOrder
from endpointslice.packing.generational import Generational, Moves
from endpointslice.packing.kubernetes import KubernetesPacking
from endpointslice.packing.minimal import MinimalWrites
from endpointslice.packing.partitioned import LABEL_FOR_ZONE, Partitioned
from endpointslice.packing.placement import Packing, PackingStrategy, Placement
from endpointslice.packing.rendezvous import Rendezvous
from endpointslice.packing.repack import Repack
from endpointslice.packing.single_object import SingleObject

__all__ = [
    "LABEL_FOR_ZONE",
    "ExitOrder",
    "Generational",
    "KubernetesPacking",
    "MinimalWrites",
    "Moves",
    "Packing",
    "PackingStrategy",
    "Partitioned",
    "Placement",
    "Rendezvous",
    "Repack",
    "SingleObject",
    "minimum_writes",
]
