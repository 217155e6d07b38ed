"""Whole turns along the most reliable paths through a volume: minimum spanning trees over pairs of neighbours.

Growing a region from a seed, always across the most reliable border next, visits the voxels along the edges of the
minimum spanning tree. Building the tree as a whole gives the same turns without a loop over voxels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

Indices = NDArray[np.int32]
_COST_LEVELS = 2**20


@dataclass(frozen=True)
class Pairs:
    """Neighbouring nodes, one pair an entry: `jump` is the whole turns that `second` needs more than `first`."""

    first: Indices
    second: Indices
    jump: NDArray[np.signedinteger]

    def __len__(self) -> int:
        return len(self.first)

    def take(self, chosen: NDArray) -> "Pairs":
        """Return the pairs that a mask or a list of places names."""
        return Pairs(self.first[chosen], self.second[chosen], self.jump[chosen])


@dataclass(frozen=True)
class Forest:
    """Nodes joined into trees: the number of each node's tree, and its whole turns relative to the tree's root."""

    tree: Indices
    turns: Indices
    n_trees: int


def neighbours(mask: NDArray[np.bool_]) -> tuple[Indices, Indices]:
    """Return the pairs of voxels of a mask that share a face, as places in the list of the mask's voxels.

    Parameters
    ----------
    mask
        Bool `(z, y, x)`.

    Returns
    -------
        The nearer and the farther voxel of each pair, sorted by the nearer.
    """
    count = np.count_nonzero(mask)
    place = np.full(tuple(length + 1 for length in mask.shape), -1, dtype=np.int32)
    place[:-1, :-1, :-1][mask] = np.arange(count, dtype=np.int32)
    ahead = np.stack([place[:-1, :-1, 1:][mask], place[:-1, 1:, :-1][mask], place[1:, :-1, :-1][mask]], axis=1)
    inside = ahead >= 0
    first = np.repeat(np.arange(count, dtype=np.int32), np.count_nonzero(inside, axis=1))
    return first, ahead[inside]


def grow(n_nodes: int, pairs: Pairs, cost: NDArray[np.float32]) -> Forest:
    """Join all nodes that the pairs reach, across the cheapest pairs.

    Parameters
    ----------
    n_nodes
        Number of nodes.
    pairs
        Pairs that may be joined, sorted by `first`.
    cost
        What joining each pair costs, from 0 to 1.

    Returns
    -------
        One tree for each connected part.
    """
    return join(n_nodes, cheapest_branches(n_nodes, pairs, cost))


def cheapest_branches(n_nodes: int, pairs: Pairs, cost: NDArray[np.float32]) -> Pairs:
    """Return those of the pairs across which `grow` joins the nodes."""
    if len(pairs) == 0:
        return pairs
    # The integer part ranks the cost, the rest is the pair's own place: no two are equal, and the tree names its pairs.
    step = 2.0**32
    ranks = cost.astype(np.float64)
    np.rint(np.multiply(ranks, _COST_LEVELS, out=ranks), out=ranks)
    ranks *= step
    ranks += np.arange(1, len(pairs) + 1, dtype=np.int32)
    begins = np.concatenate([[0], np.bincount(pairs.first, minlength=n_nodes).cumsum()]).astype(np.int32)
    # The search writes over the graph to spare a copy of the ranks; the pairs are still needed.
    graph = csr_matrix((ranks, pairs.second.copy(), begins), shape=(n_nodes, n_nodes))
    del ranks, begins
    chosen = minimum_spanning_tree(graph, overwrite=True).data
    del graph
    return pairs.take(np.remainder(chosen[chosen > 0], step).astype(np.int64) - 1)


def join(n_nodes: int, branches: Pairs) -> Forest:
    """Add up the whole turns along branches that hold no cycle.

    Parameters
    ----------
    n_nodes
        Number of nodes.
    branches
        Pairs that are all joined.

    Returns
    -------
        One tree for each connected part; its root is its first node.
    """
    ones = np.ones(len(branches), dtype=np.int8)
    graph = csr_matrix((ones, (branches.first, branches.second)), shape=(n_nodes, n_nodes))
    n_trees, tree = connected_components(graph, directed=False)
    roots = np.empty(n_trees, dtype=np.int64)
    # Of several values for one place the last is kept: backwards, that is the first node of each tree.
    roots[tree[::-1]] = np.arange(n_nodes - 1, -1, -1)
    parent, turns = _rooted(n_nodes, branches, roots)
    return Forest(tree, _added_up(parent, turns), n_trees)


def _rooted(n_nodes: int, branches: Pairs, roots: NDArray[np.int64]) -> tuple[NDArray[np.int64], Indices]:
    """Return the parent of each node and its whole turns more than the parent's; a root is its own parent."""
    hub = n_nodes
    start = np.concatenate([branches.first, np.full(len(roots), hub, dtype=np.int32)])
    end = np.concatenate([branches.second, roots.astype(np.int32)])
    graph = csr_matrix((np.ones(len(start), dtype=np.int8), (start, end)), shape=(hub + 1, hub + 1))
    del start, end
    _, parent = breadth_first_order(graph, hub, directed=False)
    parent = parent[:n_nodes].astype(np.int64)
    is_child_second = parent[branches.second] == branches.first
    turns = np.zeros(n_nodes, dtype=np.int32)
    turns[branches.second[is_child_second]] = branches.jump[is_child_second]
    turns[branches.first[~is_child_second]] = -branches.jump[~is_child_second]
    parent[roots] = roots
    return parent, turns


def _added_up(parent: NDArray[np.int64], turns: Indices) -> Indices:
    """Sum the turns from each node to its root, doubling the stride of all nodes at once."""
    total = turns.copy()
    while True:
        farther = parent[parent]
        total += total[parent]
        if np.array_equal(farther, parent):
            return total
        parent = farther
