"""The last resort: a method whose name only one definition of the repository has."""

import sys
from functools import cache

from pi_extractors.call_graph.externals import Externals
from pi_extractors.call_graph.summary import CLASS, CallRow
from pi_extractors.call_graph.values import Class, External

MIN_LENGTH = 4
STANDARD = sys.stdlib_module_names | {"builtins"}


@cache
def common_names() -> frozenset[str]:
    """Attributes of built-in types and of much used classes of the standard library."""
    import argparse
    import collections
    import configparser
    import datetime
    import decimal
    import email.message
    import fractions
    import io
    import logging
    import pathlib
    import queue
    import re
    import socket
    import sqlite3
    import string
    import subprocess
    import threading
    import types
    import unittest
    import xml.dom.minidom
    import xml.etree.ElementTree

    modules = (
        argparse, collections, configparser, datetime, decimal, email.message, fractions, io,
        logging, pathlib, queue, re, socket, sqlite3, string, subprocess, threading, types,
        unittest, xml.dom.minidom, xml.etree.ElementTree,
    )  # fmt: skip
    names: set[str] = set()
    classes: list[object] = [str, bytes, int, float, complex, list, dict, set, tuple, range]
    classes += [bytearray, memoryview, property, object, type, type(re.compile("")), slice]
    for module in modules:
        classes += [one for one in vars(module).values() if isinstance(one, type)]
    for cls in classes:
        names.update(dir(cls))
    return frozenset(names)


def by_name(evaluator: Externals, path: str, row: CallRow) -> list[tuple[str, int]]:
    """The one definition that an attribute call can mean by its name, or nothing."""
    name = row.name
    if not row.callee or row.callee[0] != "a" or len(name) < MIN_LENGTH or name.startswith("__"):
        return []
    places = evaluator.repository.defined.get(name, [])
    if len(places) != 1 or name in common_names():
        return []
    at, scope = places[0]
    where = evaluator.repository.paths[at]
    owner = evaluator.file(where).outlines[scope].parent
    if evaluator.file(where).outlines[owner].kind == CLASS:
        for base in evaluator.mro(Class(where, owner)):
            if isinstance(base, External) and base.name.partition(".")[0] not in STANDARD:
                return []  # it may be a method of the foreign class
    return [(where, scope)]
