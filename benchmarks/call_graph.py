"""Accuracy of call-graph engines.

    python -m benchmarks.call_graph micro --benchmark DIR
    python -m benchmarks.call_graph real --work DIR --set dev

`micro`: the edges of the PyCG micro-benchmark (a checkout of its repository). `real`: call sites
of modules of packages from PyPI; sites that need a judgement are written to DIR/open.tsv.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

from benchmarks import call_graph_micro as micro
from benchmarks import call_graph_real as real
from pi_extractors.call_graph.engines import ENGINES

_SHOWN = ("linker", "linker+jedi")


def run_micro(options: argparse.Namespace) -> None:
    """Print the table of engines."""
    if not any(micro.modules(options.benchmark)):
        sys.exit(f"{options.benchmark}: no micro-benchmark/snippets/*/*/callgraph.json in it")
    print("| engine | modules | precision | recall | F1 | right | wrong | missed |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.engines or _SHOWN:
        count, one = micro.score(ENGINES[name](options.work), options.benchmark, options.show)
        print(
            f"| {name} | {count} | {one.precision:.3f} | {one.recall:.3f} | {one.f1:.3f} "
            f"| {one.right} | {one.wrong} | {one.missed} |"
        )


def run_real(options: argparse.Namespace) -> None:
    """Print the table and write the sites that nobody has judged."""
    engines = options.engines or [real.LINKER, real.UNION, "jedi", "ty"]
    known = real.judgements()
    tallies = {name: real.Tally() for name in engines}
    pool = 0
    unjudged: list[dict[str, object]] = []
    packages = json.loads(real.PACKAGES.read_text())[options.set]
    for package in packages:
        if options.packages and package["package"] not in options.packages:
            continue
        root = real.download(package["package"], package["version"], options.work)
        target = real.Target(package["package"], root, options.work, options.work / "answers")
        for module in package["modules"]:
            answers = {name: target.ask(name, module) for name in engines}
            lines = target.graph.repository.text(module).split("\n")
            for place in sorted({place for found in answers.values() for place in found}):
                said = {name: found[place] for name, found in answers.items() if place in found}
                others = {name: names for name, names in said.items() if name != real.UNION}
                truth = known.get((package["package"], module, *place))
                if truth is None and real.agreed(others):
                    truth = set(next(iter(others.values())))
                if truth is None:
                    row = {"package": package["package"], "module": module}
                    row |= {"line": str(place[0]), "column": str(place[1])}
                    text = lines[place[0] - 1].strip()
                    shown = " ".join(f"{name}={','.join(names)}" for name, names in said.items())
                    unjudged.append({**row, "targets": shown, "text": text})
                right = truth is not None and any(set(one) <= truth for one in said.values())
                pool += right
                for name, names in said.items():
                    if truth is None:
                        tallies[name].open += 1
                    elif set(names) <= truth:
                        tallies[name].right += 1
                    else:
                        tallies[name].wrong += 1
                        shown = ",".join(names)
                        print(f"wrong: {name} {module}:{place[0]}:{place[1]} {shown[:200]}")
        target.graph.close()
        for reason in target.asked:
            print(f"{package['package']}: {reason}")
    print(f"{pool} sites resolved rightly by some engine, {len(unjudged)} without a judgement")
    print("| engine | recall | precision | right | wrong | not judged |")
    print("|---|---|---|---|---|---|")
    for name, one in tallies.items():
        precision = one.right / max(one.right + one.wrong, 1)
        print(
            f"| {name} | {one.right / max(pool, 1):.3f} | {precision:.3f} "
            f"| {one.right} | {one.wrong} | {one.open} |"
        )
    with (options.work / "open.tsv").open("w", newline="") as file:
        fields = ["package", "module", "line", "column", "targets", "text"]
        writer = csv.DictWriter(file, fields, delimiter="\t")
        writer.writeheader()
        writer.writerows(unjudged)


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("micro")
    one.add_argument("--benchmark", type=Path, required=True, help="checkout of PyCG")
    one.add_argument("--work", type=Path, help="folder of the store of summaries")
    one.add_argument("--engines", nargs="+", choices=ENGINES)
    one.add_argument("--show", action="store_true", help="the edges that differ")
    one.set_defaults(run=run_micro)
    two = commands.add_parser("real")
    two.add_argument("--work", type=Path, required=True, help="folder for downloads and answers")
    two.add_argument("--set", choices=["dev", "held_out"], default="dev")
    two.add_argument("--packages", nargs="+")
    two.add_argument("--engines", nargs="+", choices=[real.LINKER, real.UNION, *real.RESOLVERS])
    two.set_defaults(run=run_real)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
