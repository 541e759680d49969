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
import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict
from tqdm import tqdm

from recoder_jax import factory
from recoder_jax.charts.chart import Chart
from recoder_jax.charts.goldens import Goldens
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.configuration import fingerprint, load
from recoder_jax.data.sources import open_charts
from recoder_jax.doors import AGAIN, Ended, door
from recoder_jax.evaluation.asking import ServerOptions
from recoder_jax.evaluation.benchmark import play_benchmark
from recoder_jax.evaluation.card import reference_card
from recoder_jax.evaluation.foreign import groups_of
from recoder_jax.evaluation.golden import golden_turns, report, shortfalls
from recoder_jax.evaluation.remote import Journal, Rules, mark_of, play_remote
from recoder_jax.evaluation.replay import replay
from recoder_jax.evaluation.scoring import chart_results
from recoder_jax.evaluation.table import results_table
from recoder_jax.evaluation.writing import full_evaluation, write_evaluation, write_tables
from recoder_jax.languages.language import find
from recoder_jax.learning.checkpoint import run_of, step_of
from recoder_jax.rewards.mixture import Mixture
from recoder_jax.rollout.play import Plan
from recoder_jax.rollout.trajectory import Group
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import ChartResult
from recoder_jax.validation import validate_language

JOURNAL = "dialogues.jsonl"
MOST_TURNS = 8
DIFFERENT = 1  # exit code of a replay whose scores differ


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is evaluated, and into which run. label: on the reference card. mark: changes with whatever may change the numbers."""

    name: str
    label: str
    mark: str
    run: RunDirectory


def evaluate(config: ConfigDict, options: argparse.Namespace) -> None:
    """Evaluate what the options name; a finished evaluation of the same with this config is kept."""
    if config.evaluation.turns > MOST_TURNS:
        raise ValueError(f"evaluation.turns is {config.evaluation.turns}; give 1 to {MOST_TURNS}")
    if options.golden:
        return evaluate_golden(config, options)
    if options.server:
        return evaluate_server(config, options)
    return evaluate_directory(config, options) if options.policy else evaluate_run(config, options.workdir)


def evaluate_run(config: ConfigDict, workdir: str) -> None:
    """The newest checkpoint of a run, or that of RUN@STEP or RUN@best."""
    config = factory.config_of_run(workdir, config)
    step, directory = step_of(workdir), run_of(workdir)
    subject = Subject(config.name, f"{directory.resolve().name}@{step}", f"{fingerprint(config)}-{policy_mark(workdir)}", RunDirectory(directory))
    if not stands(subject):
        play_policy(config, subject, f"{directory}@{step}")


def evaluate_directory(config: ConfigDict, options: argparse.Namespace) -> None:
    """A policy directory or a Hugging Face directory, into a directory of its own."""
    if not factory.is_foreign(options.policy):
        raise FileNotFoundError(f"{options.policy!r} holds neither a policy nor *.safetensors; give what `convert import` wrote or a Hugging Face directory")
    label, config = Path(options.policy).resolve().name, foreign_config(config)
    subject = Subject(options.name or label, label, f"{fingerprint(config)}-{policy_mark(options.policy)}", evaluation_directory(options.workdir))
    if not stands(subject):
        subject.run.write_config(config.to_dict())
        play_policy(config, subject, options.policy)


def policy_mark(path: str) -> str:
    """Changes with the policy: config and step of a run; names, sizes and dates of the files of another directory."""
    if factory.is_foreign(path):
        files = sorted((str(file.relative_to(path)), file.stat().st_size, file.stat().st_mtime_ns) for file in Path(path).rglob("*") if file.is_file())
        return hashlib.sha256(repr(files).encode()).hexdigest()[:12]
    return f"{hashlib.sha256(Path(run_of(path), 'config.json').read_bytes()).hexdigest()[:8]}-{step_of(path)}"


def foreign_config(config: ConfigDict) -> ConfigDict:
    """The config with the image bound of a policy that no run of ours trained."""
    config = config.copy_and_resolve_references().unlock()
    config.image.max_pixels = config.evaluation.max_pixels
    tokens = config.image.max_pixels // 28**2 * (2 if config.rollout.difference else 1)
    if tokens >= config.rollout.feedback_tokens:
        raise ValueError(f"a render of evaluation.max_pixels takes {tokens} tokens and rollout.feedback_tokens is {config.rollout.feedback_tokens}; raise it or lower evaluation.max_pixels")
    return config.lock()


def play_policy(config: ConfigDict, subject: Subject, path: str) -> None:
    """Play a policy with the training engine."""
    options, mesh, charts = config.evaluation, factory.mesh_of(config), charts_of(config)
    plan = Plan(
        turns=options.turns, branch_turn=1, group=1, response_tokens=config.rollout.response_tokens,
        feedback_tokens=config.rollout.feedback_tokens, temperature=options.temperature,
        stop_at_fence=config.rollout.stop_at_fence, difference=config.rollout.difference,
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.set_mesh(mesh))
        sandbox = stack.enter_context(factory.sandbox_of(config))
        judge = stack.enter_context(factory.judge_of(config, mesh))
        policy, params = factory.trained_policy(path, config, mesh)
        reward, goldens = factory.mixture_of(config, judge, stack.enter_context(factory.visual_of(config, mesh))), factory.goldens_of(config)
        slots = dataclasses.replace(factory.slots_of(config), places=options.batch)
        player = factory.player_of(policy, sandbox, reward, mesh, goldens, slots, config.batch.least_windows, config.data.language)
        params = player.sampler.load(params)
        groups = play_benchmark(player, params, charts, plan, config.seed, f"{subject.name}, evaluation")
        finish(config, subject, groups, goldens, sandbox)


def evaluate_server(config: ConfigDict, options: argparse.Namespace) -> None:
    """A model behind an OpenAI-compatible server. Dialogues that were played stay; the same command asks for those that are missing."""
    config = foreign_config(config)
    server = server_options(config, options.server, options.model)
    rules = Rules(config.evaluation.turns, config.seed, find(config.data.language), config.rollout.difference)
    subject = Subject(options.name or options.model, f"{options.model} at a server", f"{fingerprint(config)}-{mark_of(server, rules)}", evaluation_directory(options.workdir))
    if stands(subject):
        return
    charts, goldens = charts_of(config), factory.goldens_of(config)
    subject.run.write_config(config.to_dict())
    with contextlib.ExitStack() as stack:
        sandbox = stack.enter_context(factory.sandbox_of(config))
        judge = stack.enter_context(factory.judge_of(config, factory.one_device() if config.judge.policy else None))
        visual = stack.enter_context(factory.visual_of(config, factory.one_device()))
        reward, journal = factory.mixture_of(config, judge, visual), Journal(subject.run.path / JOURNAL, mark_of(server, rules))
        with tqdm(total=len(charts), desc=f"{subject.name}, evaluation", unit="chart", mininterval=1.0) as progress:
            spoken, unplayed = play_remote(server, charts, rules, sandbox, journal, progress.update)
        if unplayed:
            kinds = ", ".join(f"{kind} {count}" for kind, count in Counter(each.kind.value for each in unplayed).most_common())
            raise Ended(f"{len(unplayed)} of {len(charts)} dialogues could not be played ({kinds}; {unplayed[0].chart}: {unplayed[0].sentence}); "
                        "run the same command again to ask only for those", AGAIN)
        meet(goldens, charts, sandbox)
        groups = groups_of(charts, spoken, reward, goldens.__getitem__, rules.language)
        finish(config, subject, groups, goldens, sandbox)


def evaluate_golden(config: ConfigDict, options: argparse.Namespace) -> None:
    """Golden programs in the place of a policy: what a perfect one would get, and golden.md with the charts that cannot reach 100, and why."""
    check_elements(config, "--golden")
    subject = Subject(options.name or "golden programs", "golden programs", f"{fingerprint(config)}-golden", evaluation_directory(options.workdir))
    if stands(subject):
        return
    charts, goldens = charts_of(config), factory.goldens_of(config)
    subject.run.write_config(config.to_dict())
    with factory.sandbox_of(config) as sandbox:
        meet(goldens, charts, sandbox)
        groups = groups_of(charts, golden_turns(charts, sandbox), Mixture(alpha=0.9, beta=0.0), goldens.__getitem__)
        results = finish(config, subject, groups, goldens, sandbox)
    page = Path(options.workdir, "golden.md")
    text = report(shortfalls(results, goldens.__getitem__, charts), len(charts))
    page.write_text(text, encoding="utf-8")
    print(f"{text.partition(chr(10))[0]} {page}", flush=True)


def server_options(config: ConfigDict, base_url: str, model: str) -> ServerOptions:
    options = config.evaluation
    return ServerOptions(
        base_url=base_url, model=model, temperature=options.temperature, response_tokens=config.rollout.response_tokens,
        key_variable=options.key_variable, seconds=options.seconds, attempts=options.attempts, concurrency=options.concurrency,
        requests_per_minute=options.requests_per_minute, max_pixels=options.max_pixels,
    )  # fmt: skip


def check_elements(config: ConfigDict, what: str) -> None:
    """Raises ValueError where programs have no elements to compare."""
    if not find(config.data.language).elements:
        raise ValueError(f"{what} compares elements, which programs in {config.data.language} do not have; set data.language to python")


def charts_of(config: ConfigDict) -> list[Chart]:
    """The first charts of the split."""
    options = config.evaluation
    validate_language(config)
    charts = open_charts(config.data.dir, options.data, options.split, language=config.data.language)
    if options.charts > len(charts):
        raise ValueError(f"evaluation.charts is {options.charts} but the split holds {len(charts)}; prepare more or ask for fewer")
    return [charts[index] for index in range(options.charts)]


def meet(goldens: Goldens, charts: Sequence[Chart], sandbox: Sandbox) -> None:
    """Execute the golden programs that are not known."""
    unknown = [program for program in dict.fromkeys(chart.program for chart in charts) if program not in goldens]
    for program, execution in zip(unknown, sandbox.execute_all(unknown), strict=True):
        goldens[program] = execution


def evaluation_directory(path: str) -> RunDirectory:
    """A directory for an evaluation alone. ValueError for the directory of a training run."""
    if Path(path, "checkpoints").exists() or Path(path, "metrics.jsonl").exists():
        raise ValueError(f"--workdir {path} holds a training run; give a directory of its own to what is evaluated here")
    return RunDirectory(path)


def stands(subject: Subject) -> bool:
    """Whether the run holds this evaluation already, whose table is then printed."""
    standing = subject.run.read_evaluation()
    if not standing or standing.config_hash != subject.mark:
        return False
    print(f"{subject.name}: evaluated already ({subject.label})\n{results_table([standing], turns=sorted({1, len(standing.turns)}))}", flush=True)
    return True


def finish(config: ConfigDict, subject: Subject, groups: Sequence[Group], goldens: Goldens, sandbox: Sandbox) -> Sequence[ChartResult]:
    """Score, write and print; the results of the charts."""
    options = config.evaluation
    benchmark = f"{options.data}, {options.split}, {options.charts} charts"
    judge = "" if config.reward.beta == 0 or subject.label == "golden programs" else config.judge.policy and Path(config.judge.policy).name or config.judge.model
    card = reference_card(subject.label, subject.mark, {"seed": config.seed}, judge)
    elements = find(config.data.language).elements
    results = chart_results(groups, goldens.__getitem__, sandbox, elements)
    evaluation = full_evaluation(results, subject.name, benchmark, card, "elements" if elements else "pictures")
    write_evaluation(subject.run, evaluation, groups)
    print(results_table([evaluation], turns=sorted({1, len(evaluation.turns)}), intervals=True), flush=True)
    print(f"{subject.run.path}: evaluation.json, evaluation.html, tables.md, tables.csv, tables.json, tables.tex", flush=True)
    return results


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
    parser.add_argument("--policy", metavar="DIR", default="", help="evaluate a policy directory (`convert import`) or a Hugging Face directory")
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
