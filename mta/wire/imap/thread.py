"""THREAD: ORDEREDSUBJECT and REFERENCES (RFC 5256 §3, §4) over sort keys; and the answer's parentheses (§5).

Everything is iterative: a thread of 100,000 replies costs no recursion. Loops in what senders claim are never followed; chains longer than
``_DEEPEST`` count as loops where looking for one.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterable, Sequence

from mta.wire.imap.sort_keys import SortKeys

ALGORITHMS = ("ORDEREDSUBJECT", "REFERENCES")
_DEEPEST = 500


class Node:
    """A message, or the place of one that is not here (``number`` 0). ``sent``: for sorting; ``order`` breaks ties; ``claims``: how many
    have it as parent while they are linked, before ``children`` are known."""

    __slots__ = ("children", "claims", "keys", "number", "order", "parent", "sent")

    def __init__(self, number: int = 0, sent: int = 0, order: int = 0, keys: SortKeys | None = None) -> None:
        self.number = number
        self.sent = sent
        self.order = order
        self.keys = keys
        self.parent: Node | None = None
        self.claims = 0
        self.children: Sequence[Node] = ()
        """A list once there are some: most have none."""

    def add(self, child: "Node") -> None:
        if isinstance(self.children, list):
            self.children.append(child)
        else:
            self.children = [child]


Message = tuple[int, int, SortKeys]
"""Number or uid, seconds when it was sent, keys; in the order of the mailbox."""


def ordered_subject(messages: Sequence[Message]) -> list[Node]:
    """Messages with one base subject are a thread: the earliest, with all others as its children (RFC 5256 §3)."""
    ordered = sorted(enumerate(messages), key=lambda at: (at[1][2].subject, at[1][1], at[0]))
    roots: list[Node] = []
    last: str | None = None
    for order, (number, sent, keys) in ordered:
        node = Node(number, sent, order, keys)
        if roots and keys.subject == last:
            roots[-1].add(node)
        else:
            roots.append(node)
        last = keys.subject
    roots.sort(key=_when)
    return roots


def references(messages: Sequence[Message]) -> list[Node]:
    """RFC 5256 §3, THREAD=REFERENCES, step by step."""
    roots = _prune(_link(messages))
    _sort_children(roots)
    roots.sort(key=_when)
    roots = _gather_subjects(roots)
    _sort_children(roots)
    roots.sort(key=_when)
    return roots


# ---- step 1 and 2: who answers whom


def _link(messages: Sequence[Message]) -> list[Node]:
    """All nodes without parent, placeholders included."""
    named: dict[str, Node] = {}
    nodes: list[Node] = []
    for order, (number, sent, keys) in enumerate(messages):
        node = named.get(keys.message_id) if keys.message_id else None
        if node is None or node.number:  # no id, or one that was taken: a node that nobody can refer to
            fresh = Node()
            nodes.append(fresh)
            if keys.message_id and node is None:
                named[keys.message_id] = fresh
            node = fresh
        node.number, node.sent, node.order, node.keys = number, sent, order, keys
        before: Node | None = None
        for reference in keys.references:
            known = named.get(reference)
            if known is None:
                known = named[reference] = Node(order=order)
                nodes.append(known)
            if before is not None and known.parent is None and not _would_loop(before, known):
                _adopt(before, known)
            before = known
        if node.parent is not None:  # what others said of it counts less than what it says itself
            node.parent.claims -= 1
            node.parent = None
        if before is not None and not _would_loop(before, node):
            _adopt(before, node)
    for node in nodes:
        if node.parent is not None:
            node.parent.add(node)
    return [node for node in nodes if node.parent is None]


def _adopt(parent: Node, child: Node) -> None:
    child.parent = parent
    parent.claims += 1


def _would_loop(parent: Node, child: Node) -> bool:
    if parent is child:
        return True
    if not child.claims:  # the usual case: nobody hangs on it
        return False
    above: Node | None = parent
    for _ in range(_DEEPEST):
        if above is None:
            return False
        if above is child:
            return True
        above = above.parent
    return True


# ---- step 3: placeholders go


def _prune(roots: list[Node]) -> list[Node]:
    """Without placeholders that have no children, or that need not be there."""
    for node in reversed(list(_walk(roots))):  # from the leaves
        if all([child.number for child in node.children]):  # noqa: C419
            continue
        kept: list[Node] = []
        for child in node.children:
            if child.number:
                kept.append(child)
            else:
                kept += child.children
        node.children = kept
    out: list[Node] = []
    for root in roots:
        if root.number or len(root.children) > 1:
            out.append(root)
        else:
            out += root.children
    return out


def _walk(roots: Iterable[Node]) -> Iterable[Node]:
    stack = list(roots)
    while stack:
        node = stack.pop()
        yield node
        stack.extend(node.children)


# ---- step 4 to 6


def _when(node: Node) -> tuple[int, int]:
    """A placeholder counts as its first child does."""
    shown = node if node.number or not node.children else node.children[0]
    return shown.sent, shown.order


def _sort_children(roots: Iterable[Node]) -> None:
    for node in reversed(list(_walk(roots))):
        if len(node.children) > 1:
            node.children = sorted(node.children, key=_when)


def _shown(node: Node) -> SortKeys:
    keys = node.keys if node.number else node.children[0].keys
    assert keys is not None  # no placeholder is without children, or below another
    return keys


def _gather_subjects(roots: list[Node]) -> list[Node]:
    """Step 5: threads with one subject belong together."""
    table: dict[str, Node] = {}
    for node in roots:
        keys = _shown(node)
        if not keys.subject:
            continue
        there = table.get(keys.subject)
        if there is None or (there.number and (not node.number or (_shown(there).reply and not keys.reply))):
            table[keys.subject] = node
    out: list[Node] = []
    merged: dict[int, Node] = {}
    for node in roots:
        keys = _shown(node)
        there = table.get(keys.subject) if keys.subject else None
        if there is None or there is node:
            out.append(node)
            continue
        there = merged.get(id(there), there)
        if not node.number and not there.number:
            for child in node.children:
                there.add(child)
        elif not there.number or (keys.reply and not _shown(there).reply):
            there.add(node)
        else:
            both = Node(order=there.order)
            both.children = [there, node]
            merged[id(table[keys.subject])] = both
    return [merged.get(id(node), node) for node in out]


# ---- the answer


def encode_threads(roots: Sequence[Node]) -> bytes:
    """``(2)(3 6 (4 23)(44 7 96))``: a chain is flat, branches stand in parentheses (RFC 5256 §5)."""
    out: list[str] = []
    stack: list[Node | None] = []
    for root in roots:
        stack.append(root)
        while stack:
            node = stack.pop()
            if node is None:
                out.append(")")
                continue
            out.append("(")
            stack.append(None)
            while True:
                if node.number:
                    out.append(str(node.number))
                if len(node.children) != 1:
                    break
                if node.number:
                    out.append(" ")
                node = node.children[0]
            if node.children:
                if node.number:
                    out.append(" ")
                stack.extend(reversed(node.children))
    return "".join(out).encode("ascii")
