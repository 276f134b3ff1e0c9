"""`rvm eval card`: a model card of weights, of their results and of what people say in a file of notes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def main(protocol: str, arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    from rvm_model.weights import load_weights
    from rvm_training.configuration import commented, load
    from rvm_training.evaluation.model_card import CardNotes, model_card
    from rvm_training.evaluation.result import load_results

    parser = argparse.ArgumentParser(prog=f"rvm eval {protocol}", description=__doc__)
    parser.add_argument("results", type=Path, nargs="*", help="files that `rvm eval` wrote, or folders of such")
    parser.add_argument("--model", help="weights of RVM, as they were evaluated")
    parser.add_argument("--notes", type=Path, help="YAML file of what people say; --template prints an empty one")
    parser.add_argument("--template", action="store_true", help="print empty notes, and stop")
    parser.add_argument("--out", type=Path, help="file to write the card to (default: print it)")
    args = parser.parse_args(arguments)
    if args.template:
        print(commented(CardNotes()))
        return 0
    if args.model is None or args.notes is None or not args.results:
        parser.error("results, --model and --notes are needed, or --template")
    card = model_card(*load_weights(args.model), load(CardNotes, args.notes), load_results(args.results))
    if args.out is None:
        print(card, end="")
        return 0
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(card, encoding="utf-8")
    print(args.out)
    return 0
