"""What the linker follows, each on a program of a few lines."""

from pathlib import Path

import pytest

from pi_extractors.call_graph.linker import Linker
from tests.pi_extractors.call_graph.linking import callees, edges, snapshot

CLASSES = """
    class Base:
        def save(self):
            return self.check()
        def check(self):
            pass
        @classmethod
        def make(cls):
            return cls()
        @property
        def owner(self):
            return Owner()
        def clone(self):
            return self.__class__()

    class Child(Base):
        def __init__(self, other=None):
            self.other = other
        def check(self):
            return super().check()
        def only_child(self):
            pass

    class Owner:
        def ping(self):
            return self
        def __call__(self):
            pass
"""

BODIES = {
    "constructor": ("Child()", {"Child.__init__"}),
    "class without constructor": ("Owner()", {"Owner"}),
    "inherited method": ("c = Child()\n    c.save()", {"Child.__init__", "Base.save"}),
    "overridden method": ("Child().check()", {"Child.__init__", "Child.check"}),
    "class method": ("Child.make().only_child()", {"Base.make", "Child.only_child"}),
    "own class": ("Child().clone().only_child()",
                  {"Child.__init__", "Base.clone", "Child.only_child"}),
    "property": ("Base().owner.ping()", {"Base", "Owner.ping"}),
    "returned self": ("Owner().ping().ping()", {"Owner", "Owner.ping"}),
    "instance called": ("o = Owner()\n    o()", {"Owner", "Owner.__call__"}),
    "bound method kept": ("f = Owner().ping\n    f()", {"Owner", "Owner.ping"}),
    "last assignment": ("f = Child\n    f = Owner\n    f().ping()", {"Owner", "Owner.ping"}),
    "either branch": ("f = Child if x else Owner\n    f()", {"Child.__init__", "Owner"}),
    "after return": ("f = Child\n    if x:\n        f = Owner\n        return\n    f()",
                     {"Child.__init__"}),
    "loop": ("f = None\n    for i in x:\n        if f: f()\n        f = Owner", {"Owner"}),
    "handler": ("try:\n        f = Child\n    except E:\n        f = Owner\n    f()",
                {"Child.__init__", "Owner"}),
    "isinstance": ("if isinstance(x, Owner):\n        x.ping()", {"Owner.ping"}),
    "not isinstance": ("if not isinstance(x, Owner):\n        return\n    x.ping()",
                       {"Owner.ping"}),
    "narrowed by and": ("isinstance(x, Owner) and x.ping()", {"Owner.ping"}),
    "list": ("a = [Child, Owner]\n    a[1]()", {"Owner"}),
    "append": ("a = []\n    a.append(Owner())\n    for o in a:\n        o.ping()",
               {"Owner", "Owner.ping"}),
    "dict": ("d = {'a': Child}\n    d['b'] = Owner\n    d['b']()", {"Owner"}),
    "dict items": ("d = {'a': Owner()}\n    for k, v in d.items():\n        v.ping()",
                   {"Owner", "Owner.ping"}),
    "unpacking": ("a, (b, *c) = 1, (Owner, Child)\n    b()\n    c[0]()",
                  {"Owner", "Child.__init__"}),
    "partial": ("import functools\n    f = functools.partial(Child, 1)\n    f()",
                {"Child.__init__"}),
    "getattr": ("getattr(Owner(), 'ping')()", {"Owner", "Owner.ping"}),
    "map": ("for o in map(Owner, x):\n        o.ping()", {"Owner", "Owner.ping"}),
    "comprehension": ("[o.ping() for o in [Owner()]]", {"Owner", "Owner.ping"}),
    "with": ("with Owner() as o:\n        o.ping()", {"Owner", "Owner.ping"}),
    "walrus": ("if (o := Owner()):\n        o.ping()", {"Owner", "Owner.ping"}),
    "annotation": ("o: 'Owner' = x\n    o.ping()", {"Owner.ping"}),
    "optional": ("from typing import Optional\n    o: Optional[Owner] = x\n    o.ping()",
                 {"Owner.ping"}),
    "raised class": ("raise Child", {"Child.__init__"}),
    "f-string": ("f'{Owner().ping()}'", {"Owner", "Owner.ping"}),
    "unknown receiver": ("x.check()", set()),
    "string method": ("'a'.save()", set()),
}  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), BODIES.values(), ids=BODIES)
def test_body(tmp_path: Path, body: str, expected: set[str]) -> None:
    text = f"{CLASSES}\n    def run(x):\n" + "\n".join(
        f"    {line}" for line in f"    {body}".split("\n")
    )
    assert callees(tmp_path, "m.py::run", m=text) == {f"m.py::{name}" for name in expected}


def test_calls_inside_a_hierarchy(tmp_path: Path) -> None:
    found = edges(tmp_path, snapshot(m=CLASSES))
    assert ("m.py::Base.save", "m.py::Base.check") in found
    assert ("m.py::Child.check", "m.py::Base.check") in found


def test_parameters_come_from_call_sites_in_other_files(tmp_path: Path) -> None:
    found = callees(
        tmp_path,
        "pkg/use.py::apply",
        pkg____init__="",
        pkg__use="def apply(job, *rest, key=None):\n    job.start()\n    key()\n",
        main="""
            from pkg.use import apply
            class Job:
                def start(self): pass
            def done(): pass
            apply(Job(), key=done)
        """,
    )
    assert found == {"main.py::Job.start", "main.py::done"}


def test_imports(tmp_path: Path) -> None:
    found = callees(
        tmp_path,
        "src/app/main.py::run",
        src__app____init__="from .tools import helper as tool\nfrom .stars import *\n",
        src__app__tools="def helper(): pass\ndef other(): pass\n",
        src__app__stars="__all__ = ['_shown']\ndef _shown(): pass\ndef hidden(): pass\n",
        src__app__deep__leaf="def leaf(): pass\n",
        src__app__main="""
            import os, json, app.tools
            from app import tool, _shown, hidden
            from .deep.leaf import leaf
            from . import tools
            def run():
                tool(); _shown(); hidden(); leaf(); tools.other(); app.tools.other()
                os.getcwd(); json.loads("")
        """,
    )
    assert found == {
        "src/app/tools.py::helper",
        "src/app/tools.py::other",
        "src/app/stars.py::_shown",
        "src/app/deep/leaf.py::leaf",
    }


def test_a_module_named_like_the_standard_library_is_not_taken_for_it(tmp_path: Path) -> None:
    files = {"pkg____init__": "", "pkg__json": "def loads(): pass\n"}
    assert not callees(tmp_path, "pkg/a.py::", pkg__a="import json\njson.loads()\n", **files)


def test_decorators(tmp_path: Path) -> None:
    text = """
        import functools
        def plain(f):
            def inner(): return f()
            return inner
        def wrapping(f):
            @functools.wraps(f)
            def inner(): return f()
            return inner
        def same(f): return f
        @wrapping
        def a(): pass
        @same
        def b(): pass
        @same
        def c(): pass
        @plain
        def d(): pass
        def run():
            a(); b()
        def run_plain():
            d()
    """
    assert callees(tmp_path, "m.py::run", m=text) == {"m.py::a", "m.py::b"}
    assert "m.py::plain.inner" in callees(tmp_path, "m.py::run_plain", m=text)
    assert callees(tmp_path, "m.py::plain.inner", m=text) == {"m.py::d"}


def test_attributes_assigned_in_methods_and_missing_ones_in_subclasses(tmp_path: Path) -> None:
    text = """
        class Engine:
            def go(self): pass
        class Car:
            def __init__(self, engine): self.engine = engine
            def drive(self):
                self.engine.go()
                self.hook()
        class Fast(Car):
            def hook(self): pass
        Car(Engine())
    """
    assert callees(tmp_path, "m.py::Car.drive", m=text) == {"m.py::Engine.go", "m.py::Fast.hook"}


def test_external_bases_hide_what_they_may_define(tmp_path: Path) -> None:
    text = """
        import click
        class Group(click.Group):
            def run(self): self.get_command()
        class Special(Group):
            def get_command(self): pass
        def use(ctx): ctx.get_command()
    """
    assert not callees(tmp_path, "m.py::Group.run", m=text)
    assert not callees(tmp_path, "m.py::use", m=text)


def test_calls_in_lambdas_come_with_the_definition_around_them(tmp_path: Path) -> None:
    files = snapshot(m="def f(): pass\ndef g():\n    return lambda x: f()\n")
    graph = Linker(tmp_path).open(files)
    (call,) = graph.calls_from(["m.py::g"])  # type: ignore[list-item]
    assert (call.caller, call.callee) == ("m.py::g.<lambda1>", "m.py::f")
    assert (call.line, call.column, call.resolver) == (3, 21, "linker")


def test_a_unique_name_is_a_last_resort(tmp_path: Path) -> None:
    text = "class A:\n    def recompute(self): pass\ndef f(x):\n    x.recompute()\n    x.split()\n"
    graph = Linker(tmp_path).open(snapshot(m=text))
    (call,) = graph.calls_from(["m.py::f"])  # type: ignore[list-item]
    assert (call.callee, call.resolver) == ("m.py::A.recompute", "name")
    assert call.confidence < 0.5


def test_recursion_ends(tmp_path: Path) -> None:
    text = """
        class A(B): pass
        class B(A):
            def m(self): return self.m().m()
        def f(x): return g(f(x))
        def g(x): return f(g(x)) or x
        def h(x): h(h)(x); x.m()
        a = [a]; a.append(a)
        for b in a: b[0][0]()
        f(B())
    """
    found = edges(tmp_path, snapshot(m=text))
    assert ("m.py::f", "m.py::g") in found
    assert ("m.py::B.m", "m.py::B.m") in found


def test_columns_count_code_points(tmp_path: Path) -> None:
    graph = Linker(tmp_path).open(snapshot(m="def f(): pass\nx = 'äö𝄞'; f()\n"))
    (call,) = graph.calls_from(["m.py::"])  # type: ignore[list-item]
    assert (call.line, call.column) == (2, 11)
