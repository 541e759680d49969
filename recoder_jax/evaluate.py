"""Evaluate: play T turns over a data set, score every turn, write evaluation.json, evaluation.html, tables and dialogues into the run.

    python -m recoder_jax.evaluate --config=configs/tiny/evaluate.py --workdir=runs/stage2 [--config.evaluation.turns=4]
    python -m recoder_jax.evaluate --config=configs/tiny/evaluate.py --workdir=runs/stage2@best
    python -m recoder_jax.evaluate --config=configs/evaluate.py --workdir=runs/7b_eval --policy=policies/7b
    python -m recoder_jax.evaluate --config=configs/evaluate.py --workdir=runs/api_eval --server=http://host:8000/v1 --model=NAME
    python -m recoder_jax.evaluate --config=configs/evaluate.py --workdir=runs/golden --golden
    python -m recoder_jax.evaluate --config=configs/evaluate.py --workdir=runs/api_eval --replay
    python -m recoder_jax.evaluate --tables=tables runs/7b_eval runs/api_eval
"""

import argparse
import contextlib
import dataclasses
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

from recoder_jax import factory
from recoder_jax.charts.chart import Chart
from recoder_jax.charts.goldens import Goldens
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.configuration import fingerprint, load
from recoder_jax.doors import AGAIN, Ended, door
from recoder_jax.evaluation.blocks import BLOCK, Scored, score_blocks
from recoder_jax.evaluation.card import reference_card
from recoder_jax.evaluation.foreign import groups_of
from recoder_jax.evaluation.golden import golden_turns, report, shortfalls
from recoder_jax.evaluation.grading import check_question, graded, question_of
from recoder_jax.evaluation.remote import Journal, Rules, mark_of, play_remote
from recoder_jax.evaluation.replay import replay
from recoder_jax.evaluation.scoring import chart_results
from recoder_jax.evaluation.table import results_table
from recoder_jax.evaluation.writing import full_evaluation, write_evaluation, write_tables
from recoder_jax.languages.language import find
from recoder_jax.learning.checkpoint import run_of, step_of
from recoder_jax.rewards.judge_forms import FORMS
from recoder_jax.rewards.judgement import AskedForJudgements
from recoder_jax.rewards.mixture import Mixture
from recoder_jax.rollout.measure import dialogue_records
from recoder_jax.rollout.play import Place, Plan
from recoder_jax.rollout.trajectory import Group
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.mirror import Mirror
from recoder_jax.subjects import Subject, charts_of, check_elements, evaluation_directory, foreign_config, meet, policy_config, server_options

JOURNAL = "dialogues.jsonl"
JUDGEMENTS = "judgements"  # in the run, where the config names no cache
GOLDEN = "golden programs"
MOST_TURNS = 8
DIFFERENT = 1  # exit code of a replay whose scores differ


def evaluate(config: ConfigDict, options: argparse.Namespace) -> None:
    """Evaluate what the options name; a finished evaluation of the same with this config is kept."""
    if config.evaluation.turns > MOST_TURNS:
        raise ValueError(f"evaluation.turns is {config.evaluation.turns}; give 1 to {MOST_TURNS}")
    with Mirror(run_of(options.workdir), config.mirror) if config.mirror else contextlib.nullcontext():
        config = config.copy_and_resolve_references()
        config.mirror = ""  # which changes no number, and so no mark
        if options.golden:
            evaluate_golden(config, options)
        elif options.server:
            evaluate_server(config, options)
        elif options.policy:
            evaluate_directory(config, options)
        else:
            evaluate_run(config, options.workdir)


def evaluate_run(config: ConfigDict, workdir: str) -> None:
    """The newest checkpoint of a run, or that of RUN@STEP or RUN@best."""
    config = factory.config_of_run(workdir, config)
    step, directory = step_of(workdir), run_of(workdir)
    subject = Subject(config.name, f"{directory.resolve().name}@{step}", f"{fingerprint(config)}-{factory.policy_mark(workdir)}", RunDirectory(directory))
    if not stands(subject):
        play_policy(config, subject, f"{directory}@{step}")


def evaluate_directory(config: ConfigDict, options: argparse.Namespace) -> None:
    """A policy directory or a Hugging Face directory, into a directory of its own."""
    if not factory.is_foreign(options.policy):
        raise FileNotFoundError(f"{options.policy!r} holds neither a policy nor *.safetensors; give what `convert import` wrote or a Hugging Face directory")
    label, config = Path(options.policy).resolve().name, policy_config(config, options.policy)
    subject = Subject(options.name or label, label, f"{fingerprint(config)}-{factory.policy_mark(options.policy)}", evaluation_directory(options.workdir))
    if not stands(subject):
        subject.run.write_config(config.to_dict())
        play_policy(config, subject, options.policy)


def play_policy(config: ConfigDict, subject: Subject, path: str) -> None:
    """Play a policy with the training engine."""
    options, mesh, charts = config.evaluation, factory.mesh_of(config), asked_charts(config)
    plan = Plan(
        turns=options.turns, branch_turn=1, group=1, response_tokens=config.rollout.response_tokens,
        feedback_tokens=config.rollout.feedback_tokens, temperature=options.temperature,
        stop_at_fence=config.rollout.stop_at_fence, difference=config.rollout.difference,
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.set_mesh(mesh))
        sandbox = stack.enter_context(factory.sandbox_of(config))
        judge = stack.enter_context(judge_of(config, subject, mesh))
        policy, params = factory.trained_policy(path, config, mesh)
        reward, goldens = factory.mixture_of(config, judge, stack.enter_context(factory.visual_of(config, mesh))), factory.goldens_of(config)
        slots = dataclasses.replace(factory.slots_of(config), places=options.batch)
        player = factory.player_of(policy, sandbox, reward, mesh, goldens, slots, config.batch.least_windows, config.data.language)
        params = player.sampler.load(params)

        def score(numbers: range, done: Callable[[], None]) -> Scored:
            place = Place(numbers, options.charts, min(BLOCK, options.charts))
            groups, _ = player.play(params, [charts[number] for number in numbers], plan, config.seed, 0, done=done, place=place)
            return scored(config, subject, groups, goldens, sandbox)

        whole = score_blocks(subject.run, subject.mark, options.charts, score, f"{subject.name}, evaluation")
        finish(config, subject, whole, charts, judge)


def evaluate_server(config: ConfigDict, options: argparse.Namespace) -> None:
    """A model behind an OpenAI-compatible server. Dialogues that were played stay; the same command asks for those that are missing."""
    config = foreign_config(config)
    server = server_options(config, options.server, options.model)
    rules = Rules(config.evaluation.turns, config.seed, find(config.data.language), config.rollout.difference)
    subject = Subject(options.name or options.model, f"{options.model} at a server", f"{fingerprint(config)}-{mark_of(server, rules)}", evaluation_directory(options.workdir))
    if stands(subject):
        return
    charts, goldens, unplayed = asked_charts(config), factory.goldens_of(config), []
    subject.run.write_config(config.to_dict())
    with contextlib.ExitStack() as stack:
        sandbox = stack.enter_context(factory.sandbox_of(config))
        judge = stack.enter_context(judge_of(config, subject, factory.one_device() if config.judge.policy else None))
        visual = stack.enter_context(factory.visual_of(config, factory.one_device()))
        reward, journal = factory.mixture_of(config, judge, visual), Journal(subject.run.path / JOURNAL, mark_of(server, rules))

        def score(numbers: range, done: Callable[[], None]) -> Scored | None:
            block = [charts[number] for number in numbers]
            spoken, failed = play_remote(server, block, rules, sandbox, journal, done)
            unplayed.extend(failed)
            if failed:
                return None
            meet(goldens, block, sandbox)
            return scored(config, subject, groups_of(block, spoken, reward, goldens.__getitem__, rules.language), goldens, sandbox)

        whole = score_blocks(subject.run, subject.mark, config.evaluation.charts, score, f"{subject.name}, evaluation")
        if unplayed:
            kinds = ", ".join(f"{kind} {count}" for kind, count in Counter(each.kind.value for each in unplayed).most_common())
            raise Ended(f"{len(unplayed)} of {config.evaluation.charts} dialogues could not be played ({kinds}; {unplayed[0].chart}: {unplayed[0].sentence}); "
                        "run the same command again to ask only for those", AGAIN)
        finish(config, subject, whole, charts, judge)


def evaluate_golden(config: ConfigDict, options: argparse.Namespace) -> None:
    """Golden programs in the place of a policy: what a perfect one would get, and golden.md with the charts that cannot reach 100, and why."""
    check_elements(config, "--golden")
    subject = Subject(options.name or GOLDEN, GOLDEN, f"{fingerprint(config)}-golden", evaluation_directory(options.workdir))
    if stands(subject):
        return
    charts, goldens, found = asked_charts(config), factory.goldens_of(config), []
    subject.run.write_config(config.to_dict())
    with contextlib.ExitStack() as stack:
        sandbox = stack.enter_context(factory.sandbox_of(config))

        def score(numbers: range, done: Callable[[], None]) -> Scored:
            block = [charts[number] for number in numbers]
            meet(goldens, block, sandbox)
            groups = groups_of(block, golden_turns(block, sandbox), Mixture(alpha=0.9, beta=0.0), goldens.__getitem__)
            for _ in numbers:
                done()
            return scored(config, subject, groups, goldens, sandbox)

        whole = score_blocks(subject.run, subject.mark, config.evaluation.charts, score, f"{subject.name}, evaluation")
        for number, result in enumerate(whole.results):
            meet(goldens, [charts[number]], sandbox)  # of a block that stood, what failed is not known
            found += shortfalls([result], goldens.__getitem__, [charts[number]])
        judge = stack.enter_context(judge_of(config, subject, factory.one_device() if config.judge.policy else None)) if asks(config) else None
        finish(config, subject, whole, charts, judge)
    page = Path(options.workdir, "golden.md")
    text = report(found, config.evaluation.charts)
    page.write_text(text, encoding="utf-8")
    print(f"{text.partition(chr(10))[0]} {page}", flush=True)


def stands(subject: Subject) -> bool:
    """Whether the run holds this evaluation already, whose table is then printed."""
    standing = subject.run.read_evaluation()
    if not standing or standing.config_hash != subject.mark:
        return False
    print(f"{subject.name}: evaluated already ({subject.label})\n{results_table([standing], turns=sorted({1, len(standing.turns)}))}", flush=True)
    return True


def scored(config: ConfigDict, subject: Subject, groups: Sequence[Group], goldens: Goldens, sandbox: Sandbox) -> Scored:
    """Scores and dialogues of some charts, whose renders go into the run."""
    results = chart_results(groups, goldens.__getitem__, sandbox, find(config.data.language).elements)
    return Scored(tuple(results), tuple(dialogue_records(groups, None, 0, subject.run.store_render)))


def asked_charts(config: ConfigDict) -> Sequence[Chart]:
    """The charts to evaluate, which have what the question to the judge shows."""
    question, charts = config.evaluation.question, charts_of(config)
    if question in FORMS:
        check_elements(config, f"evaluation.question is {question} and")
    check_question(question_of(config.evaluation.data, question), charts)
    return charts


def asks(config: ConfigDict) -> bool:
    """Whether there is a judge, and a question of the benchmark to put to it."""
    reachable = config.judge.base_url or config.judge.policy
    return bool(reachable and question_of(config.evaluation.data, config.evaluation.question))


def judge_of(config: ConfigDict, subject: Subject, mesh: jax.sharding.Mesh | None):
    """The judge of an evaluation, or nothing, as a context. Without a cache of its own it keeps its judgements in the run, for when it is stopped."""
    if not config.judge.cache:
        config = config.copy_and_resolve_references()
        config.judge.cache = str(subject.run.path / JUDGEMENTS)
    return factory.judge_of(config, mesh, asks(config))


def finish(config: ConfigDict, subject: Subject, whole: Scored, charts: Sequence[Chart], judge: AskedForJudgements | None) -> None:
    """Put the benchmark's question to the judge, then write and print what all charts gave."""
    options, items = config.evaluation, config.reward.beta > 0 and subject.label != GOLDEN
    whole, absent = graded(whole, question_of(options.data, options.question), judge, charts, subject.run)
    benchmark = f"{options.data}, {options.split}, {options.charts} charts"
    asked = (items or asks(config)) and (Path(config.judge.policy).name or config.judge.model)
    card = reference_card(subject.label, subject.mark, {"seed": config.seed}, asked or "")
    compared = "elements" if find(config.data.language).elements else "pictures"
    evaluation = full_evaluation(whole.results, subject.name, benchmark, card, compared, absent)
    write_evaluation(subject.run, evaluation, whole.records)
    print(results_table([evaluation], turns=sorted({1, len(evaluation.turns)}), intervals=True), flush=True)
    for measure, reason in absent.items():
        print(f"{measure}: {reason}", flush=True)
    print(f"{subject.run.path}: evaluation.json, evaluation.html, tables.md, tables.csv, tables.json, tables.tex", flush=True)


def score_again(config: ConfigDict, workdir: str) -> None:
    """Score the saved programs of a run and compare; Ended with DIFFERENT where a score is another one."""
    check_elements(config, "--replay")
    run = RunDirectory.existing(run_of(workdir))
    with factory.sandbox_of(config) as sandbox:
        found = replay(run, sandbox)
    versions = "; ".join(found.versions) or "no version differs"
    if found.different:
        shown = "\n".join(found.different[:20])
        print(shown, flush=True)
        raise Ended(f"{len(found.different)} of {found.scores} scores differ; {versions}", DIFFERENT)
    print(f"{found.scores} scores of {found.charts} charts are the same; {versions}", flush=True)


def tabulate(directory: str, runs: Sequence[str]) -> None:
    """The tables of several evaluations in one place."""
    if not runs:
        raise ValueError("--tables has no run; name the directories whose evaluations stand in the tables")
    evaluations = {run: RunDirectory.existing(run).read_evaluation() for run in runs}
    without = [run for run, evaluation in evaluations.items() if evaluation is None]
    if without:
        raise ValueError(f"{without[0]!r} was not evaluated; evaluate it first or leave it out")
    Path(directory).mkdir(parents=True, exist_ok=True)
    write_tables(directory, list(evaluations.values()), print)


def options_parser() -> argparse.ArgumentParser:
    """The command line of this door."""
    parser = argparse.ArgumentParser(prog="python -m recoder_jax.evaluate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter, allow_abbrev=False)
    parser.add_argument("--workdir", metavar="RUN", help="run directory of a trained policy (RUN@STEP or RUN@best for another checkpoint than the newest);\nwith --policy or --server a directory for the evaluation alone")
    parser.add_argument("--config", metavar="FILE", help="config file; --config.a.b=value overrides a key")
    parser.add_argument("--policy", metavar="DIR", default="", help="evaluate a policy directory (`convert import`), a Hugging Face directory, or tiny, which comes with the package")
    parser.add_argument("--server", metavar="URL", default="", help="evaluate a model behind an OpenAI-compatible server, http://host:port/v1")
    parser.add_argument("--model", metavar="NAME", default="", help="its name at the server")
    parser.add_argument("--golden", action="store_true", help="evaluate the golden programs themselves, one turn; golden.md says which charts cannot reach 100, and why")
    parser.add_argument("--name", default="", help="name of the row in tables (default: the run's, the directory's or the model's)")
    parser.add_argument("--replay", action="store_true", help="score the saved programs of RUN again, without a model; exit code 1 where a score differs")
    parser.add_argument("--tables", metavar="DIR", default="", help="write the tables of the evaluations of RUNS into DIR and do nothing else")
    parser.add_argument("runs", nargs="*", metavar="RUNS", help="with --tables: evaluated directories")
    return parser


def check_options(options: argparse.Namespace) -> None:
    """Raises ValueError for options that do not go together."""
    if options.tables:
        return
    if options.runs:
        raise ValueError(f"{options.runs[0]!r} is no option; runs without a name go with --tables")
    for name in ("workdir", "config"):
        if not getattr(options, name):
            raise ValueError(f"--{name} is missing; give it")
    chosen = [f"--{name}" for name in ("policy", "server", "golden", "replay") if getattr(options, name)]
    if len(chosen) > 1:
        raise ValueError(f"{' and '.join(chosen)} are given together; choose one")
    if bool(options.server) != bool(options.model):
        raise ValueError("--server and --model go together; give both or neither")


def main(arguments: Sequence[str] | None = None) -> int:
    options, overrides = options_parser().parse_known_args(arguments)

    def act() -> None:
        check_options(options)
        if options.tables:
            return tabulate(options.tables, options.runs)
        config = load(options.config, overrides)
        return score_again(config, options.workdir) if options.replay else evaluate(config, options)

    return door("evaluate", act)


if __name__ == "__main__":
    sys.exit(main())
