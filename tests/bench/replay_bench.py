"""``make bench-replay``: every published verdict that can be had, beside ours on the same programs.

Needs the evaluation data that is not ours to ship (a folder ``shared`` beside the checkout).  One line a
set; a difference is named with the rule id that explains it, or "?"; the exit status is 1 if one is "?".

    python tests/bench/replay_bench.py [cpp java php ts cs sh js cruxeval wizardcoder evalplus …]
"""

from __future__ import annotations

import sys
from collections import Counter

from evals.config import Judge
from evals.rules import judge_one
from evals.sandbox import Limits, Sandbox
from tests.unit.evals.conftest import published
from tests.unit.evals.replays import PLUS, PLUS_EXPLANATIONS, cruxeval, explained, plus, replays, wizardcoder


def language(box: Sandbox, name: str) -> bool:
    """Qwen2.5-Coder-1.5B base in one language."""
    counts: Counter[str] = Counter()
    unexplained = 0
    cpu = 0.0
    for one in replays(name):
        ours = judge_one(box, one.problem, one.answer, Judge())
        why, cpu = explained(one, ours), cpu + ours.cpu_seconds
        counts["theirs"] += one.passed
        counts["as published"] += ours.as_published == "passed"
        counts["strict"] += ours.strict == "passed"
        counts["differ"] += why is not None
        unexplained += why == "?"
        if why is not None:
            print(f"  {one.problem.problem}: {one.said[-80:]!r}, here {ours.as_published}: {why}", flush=True)
    told = ", ".join(f"{key} {counts[key]}" for key in ("theirs", "as published", "strict", "differ"))
    print(f"{name}: {told}; {cpu:.0f} s of processor time", flush=True)
    return not unexplained


def crux(box: Sandbox) -> bool:
    """CRUXEval's authors' verdicts on CodeLlama 7B."""
    differ = 0
    for mode in ("input", "output"):
        programs = cruxeval(mode)
        found = {program: box.run(program).verdict == "passed" for program in programs}
        differ += (wrong := sum(found[program] != passed for program, passed in programs.items()))
        print(f"cruxeval {mode}: {len(programs)} programs, {wrong} verdicts differ", flush=True)
    return not differ


def evalplus(box: Sandbox) -> bool:
    """Qwen2.5-Coder-1.5B base on HumanEval+ and MBPP+."""
    unexplained = 0
    for suite in PLUS:
        counts: Counter[str] = Counter()
        for problem, answer, passed in plus(suite):
            ours = judge_one(box, problem, answer, Judge(memory_mb=2048))
            counts["theirs"] += passed
            counts["strict"] += ours.strict == "passed"
            if (ours.strict == "passed") != passed:
                why = next(
                    (rule for rule, tasks in PLUS_EXPLANATIONS.items() if problem.problem in tasks), "?"
                )
                counts["differ"] += 1
                unexplained += why == "?"
                print(
                    f"  {problem.problem}: theirs {passed}, here {ours.strict} ({ours.detail}): {why}",
                    flush=True,
                )
        print(f"{suite}: {', '.join(f'{key} {count}' for key, count in counts.items())}", flush=True)
    return not unexplained


def wizard(box: Sandbox) -> bool:
    """WizardCoder-33B on HumanEval: 131 of 164."""
    known = {problem.problem: problem for problem in published("humaneval", imports=False)}
    passed = [judge_one(box, known[task], text, Judge()) for task, text in wizardcoder().items()]
    counts = [sum(getattr(one, rule) == "passed" for one in passed) for rule in ("as_published", "strict")]
    print(f"wizardcoder: theirs 131, as published {counts[0]}, strict {counts[1]}", flush=True)
    return counts == [131, 131]


def main() -> int:
    """Replay the sets named on the command line, or all of them."""
    others = {"cruxeval": crux, "wizardcoder": wizard, "evalplus": evalplus}
    names = sys.argv[1:] or [*others, "js", "php", "sh", "cs", "java", "cpp", "ts"]
    with Sandbox(Limits(cpu_seconds=3.0)) as box:
        agreed = [others[name](box) if name in others else language(box, name) for name in names]
    return 0 if all(agreed) else 1


if __name__ == "__main__":
    sys.exit(main())
