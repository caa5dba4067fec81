"""Which assignments reach a use of a name, branch by branch."""

from collections.abc import Iterable, Sequence

Defs = tuple[int, ...]


class Environment:
    """The assignments that reach the current point of a scope.

    Branches are recorded as changes and undone, so that a branch costs what it assigns.
    """

    def __init__(self) -> None:
        self.names: dict[str, Defs] = {}
        self.dead = False  # after return, raise: nothing flows on
        self._undo: list[tuple[dict[str, Defs | None], bool]] = []

    def assign(self, name: str, defs: Defs) -> None:
        """A name now has these assignments and no others."""
        if self._undo:
            self._undo[-1][0].setdefault(name, self.names.get(name))
        if defs:
            self.names[name] = defs
        else:
            self.names.pop(name, None)

    def push(self) -> None:
        """Begin a branch."""
        self._undo.append(({}, self.dead))

    def pop(self) -> tuple[dict[str, Defs], bool]:
        """End a branch: what it changed, and whether nothing flows out of it."""
        old, was_dead = self._undo.pop()
        changed = {name: self.names.get(name, ()) for name in old}
        for name, defs in old.items():
            if defs is None:
                self.names.pop(name, None)
            else:
                self.names[name] = defs
        dead, self.dead = self.dead, was_dead
        return changed, dead

    def merge(self, branches: Sequence[tuple[dict[str, Defs], bool]]) -> None:
        """Continue after branches of which one was taken."""
        alive = [changed for changed, dead in branches if not dead]
        self.dead = self.dead or not alive
        alive = alive or [changed for changed, _ in branches]
        for name in dict.fromkeys(name for changed in alive for name in changed):
            now = self.names.get(name, ())
            self.assign(name, union(changed.get(name, now) for changed in alive))


def union(several: Iterable[Defs]) -> Defs:
    """Every assignment once, in order."""
    return tuple(dict.fromkeys(one for defs in several for one in defs))
