"""What is planned is what is run: the same program from the same shapes, with numbers that add up, for machines that are not there."""

import dataclasses
import importlib.util
import json
import types

import jax
import numpy as np
import pytest

from recoder_jax import factory, learner, plan
from recoder_jax.configuration import load
from recoder_jax.learning.step import initial_state, place
from recoder_jax.models.qwen2_5_vl.config import preset
from recoder_jax.planning import hlo, steps
from recoder_jax.planning.compiling import held_bytes, refused_memory
from recoder_jax.sampling.engine import Engine
from recoder_jax.sampling.places import Request

SFT = ["--config.model.unroll=1", "--config.batch.rows=4", "--config.batch.size=4", "--config.batch.least_images=4"]
RL = ["--config.model.unroll=1", "--config.rollout.charts=2", "--config.batch.size=2", "--config.rollout.group=2", "--config.rollout.response_tokens=32"]
needs_libtpu = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: pip install -e '.[tpu]'")


@pytest.fixture(autouse=True)
def small_policy(monkeypatch):
    """The tiny policy with one block of each kind."""

    def small(*arguments, **changes):
        sizes = preset(*arguments, **changes)
        vision = dataclasses.replace(sizes.vision, depth=2, full_attention=(1,))
        return dataclasses.replace(sizes, vision=vision, text=dataclasses.replace(sizes.text, layers=1))

    monkeypatch.setattr(factory, "preset", small)


def planned_step(file, overrides):
    config = load(f"configs/tiny/{file}.py", overrides)
    return config, steps.planned(config, jax.devices(), turns=1)


@pytest.mark.parametrize(("file", "overrides"), [("sft", SFT), ("stage1_shared_first_turn", RL)])
def test_the_planned_update_is_the_program_of_a_real_one(file, overrides):
    config, planned = planned_step(file, overrides)
    with jax.set_mesh(planned.mesh):
        abstract, trees = planned.batch()
        state = initial_state(factory.initial_params(config, planned.policy, planned.mesh), planned.learner.optimizer, planned.learner.placed)
        batch = place(learner.packed(trees, config, planned.mesh, planned.policy.config.image_id).local, planned.mesh)
        real, lowered = planned.learner.step.lower(state, batch), planned.learner.step.lower(planned.learner.abstract, abstract)
    for one, other in zip(jax.tree.leaves((state, batch)), jax.tree.leaves((planned.learner.abstract, abstract)), strict=True):
        assert (one.shape, one.dtype, one.sharding) == (other.shape, other.dtype, other.sharding)
    assert real.as_text() == lowered.as_text()


EACH = ["--config.rollout.branch_turn=1", "--config.rollout.branching=each"]


@pytest.mark.parametrize("overrides", [[], ["--config.rollout.branch_turn=1"], EACH])
def test_the_planned_rollout_is_made_of_the_programs_of_a_real_one(monkeypatch, overrides):
    """Every call of the engine has the shapes, dtypes and places of a planned step."""
    config, planned = planned_step("stage1_shared_first_turn", [*RL, *overrides])
    planned_calls, real_calls = {}, {}
    signature = lambda arguments: [(x.shape, np.dtype(x.dtype)) for x in jax.tree.leaves(arguments)]  # noqa: E731
    monkeypatch.setattr(steps, "compile_step", lambda function, arguments, *_, **static: stand_in(planned_calls, function, arguments))

    def stand_in(calls, function, arguments):
        calls[function.__name__] = signature(list(arguments.values()))
        return types.SimpleNamespace(result=jax.eval_shape(lambda x: jax.tree.map(lambda a: a.astype(config.model.dtype), x), arguments["parameters"]))

    rollout = steps.Rollout(planned, beside=0)
    names = [step.name for step in rollout.steps()]
    functions = rollout.sampler.functions

    def noted(function):
        def call(*arguments, **static):
            real_calls[function.__name__] = signature(arguments)
            return function(*arguments, **static)

        return call

    rollout.sampler.functions = dataclasses.replace(functions, **{
        name: noted(getattr(functions, name)) for name in ("start", "proceed", "append", "decode")
    })  # fmt: skip
    params = functions.load(factory.initial_params(config, planned.policy, planned.mesh))
    engine = Engine(rollout.sampler, params, rollout.room)
    for branch_turn in rollout.plan.branch_turns:
        request = Request(rollout.pieces.prompt, (0, 0, 0), 4, rollout.plan.group, branch_turn - 1)
        engine.submit(request)
        while engine.busy:
            for said in engine.step():
                if said.turn < rollout.plan.turns:
                    engine.feed(request, said.row, rollout.pieces.feedback)
                else:
                    engine.release(request, said.row)
    assert real_calls == {name: shapes for name, shapes in planned_calls.items() if name != "load"}
    assert ("read feedback" in names) == bool(overrides) and ("read shared feedback" in names) == (len(overrides) != 1)


def test_argument_bytes_are_those_of_the_shards():
    _, planned = planned_step("sft", SFT)
    step = next(steps.steps_of(planned, "train"))
    with jax.set_mesh(planned.mesh):
        batch = planned.batch()[0]
        unread = held_bytes((batch.strand, batch.reference, batch.anchor))  # only a ratio by sequence and a KL read them
    assert step.compiled.memory.arguments == sum(step.compiled.held.values()) - unread
    assert 0 < step.rule_flops < step.compiled.work.flops and step.beside == 0
    assert step.compiled.memory.aliased <= step.compiled.memory.output < step.compiled.memory.arguments


def test_the_reference_of_kl_is_counted_in_the_dtype_of_activations():
    _, planned = planned_step("score_stage1", [*RL, "--config.model.dtype=bfloat16"])
    assert planned.reference() == 2 * planned.policy.config.parameters()


def test_the_rollout_of_a_config_is_planned_for_local_devices(capsys):
    arguments = ["--config=configs/tiny/stage1_shared_first_turn.py", *RL, "--json", "--only=sample"]
    assert plan.main(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert [step["name"] for step in said["steps"]] == ["load", "read prompts", "decode shared", "read shared feedback", "decode"]
    by_name = {step["name"]: step for step in said["steps"]}
    assert by_name["decode"]["tokens"] == 4 and by_name["decode"]["runs"] == 32
    assert by_name["decode"]["traffic"]["open_loops"] == 1
    assert by_name["decode"]["held_bytes"]["cache"] == by_name["decode shared"]["held_bytes"]["cache"]
    assert by_name["read prompts"]["rule_flops"] > by_name["decode shared"]["rule_flops"]


@needs_libtpu
def test_an_update_is_planned_for_a_tpu_that_is_not_there(capsys):
    arguments = ["--config=configs/tiny/sft.py", *SFT, "--config.mesh.fsdp=-1", "--topology=v5e:2x2", "--json"]
    assert plan.main(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    step = said["steps"][0]
    assert (said["chips"], said["mesh"]["fsdp"], said["fits"], step["fits"]) == (4, 4, True, True)
    assert step["memory"]["arguments"] >= 0.9 * sum(step["held_bytes"].values())
    assert step["traffic"]["collectives"]["all-gather"] > 0 and step["time"]["seconds"] > 0
    assert said["update_seconds"] == step["time"]["seconds"]


@needs_libtpu
@pytest.mark.parametrize(("turns", "branch_turn", "cache"), [(2, 1, "model"), (3, 2, "int8")])
def test_a_rollout_is_planned_for_a_tpu_that_is_not_there(capsys, turns, branch_turn, cache):
    small = ["--config.rollout.charts=8", "--config.rollout.lanes=4", "--config.model.dtype=bfloat16", f"--config.rollout.cache_dtype={cache}"]
    tree = [f"--config.rollout.turns={turns}", f"--config.rollout.branch_turn={branch_turn}", "--config.batch.row_tokens=2048"]
    arguments = ["--config=configs/tiny/stage1_shared_first_turn.py", *RL, *small, *tree, "--config.mesh.fsdp=4", "--config.batch.rows=4"]
    assert plan.main([*arguments, "--topology=v5e:2x2", "--only=sample", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    names = [step["name"] for step in said["steps"]]
    assert said["fits"] and "decode" in names and ("read shared feedback" in names) == (branch_turn == 2) and ("read feedback" in names) == (turns > branch_turn)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config=nowhere.py"], "there is no config file"),
        (["--config=configs/tiny/sft.py", "--turns=0"], "--turns is 0"),
        (["--config=configs/tiny/sft.py", "--config.mesh.fsdp=3", "--config.batch.rows=3"], "does not cover"),
        (["--config=configs/tiny/sft.py", "--config.image.max_pixels=500000", "--config.rollout.feedback_tokens=700"], "no room for responses"),
        pytest.param(["--config=configs/tiny/sft.py", "--topology=v9:2x2"], "--topology is 'v9:2x2'", marks=needs_libtpu),
    ],
)
def test_bad_input_ends_with_one_sentence(arguments, sentence, capsys):
    assert plan.main(arguments) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


PROGRAM = """HloModule step

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add = f32[] add(%a, %b)
}

%body (state: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %state = (s32[], f32[8,4]{1,0}) parameter(0)
  %x = f32[8,4]{1,0} get-tuple-element(%state), index=1
  %whole = f32[32,4]{1,0} all-gather(%x), channel_id=1, replica_groups=[2,4]<=[8], dimensions={0}
  %part = f32[8,4]{1,0} reduce-scatter(%whole), channel_id=2, replica_groups={{0,1,2,3},{4,5,6,7}}, dimensions={0}, to_apply=%sum
  %all = f32[8,4]{1,0} all-reduce(%part), channel_id=3, replica_groups=mesh['a'=4,'b'=2] {'b'}, to_apply=%sum
  ROOT %next = (s32[], f32[8,4]{1,0}) tuple(%x, %all)
}

%condition (state: (s32[], f32[8,4])) -> pred[] {
  %state = (s32[], f32[8,4]{1,0}) parameter(0)
  %n = s32[] get-tuple-element(%state), index=0
  %bound = s32[] constant(28)
  ROOT %less = pred[] compare(%n, %bound), direction=LT
}

ENTRY %main (x: f32[8,4]) -> (s32[], f32[8,4]) {
  %x = f32[8,4]{1,0} parameter(0)
  %zero = s32[] constant(0)
  %start = (s32[], f32[8,4]{1,0}) tuple(%zero, %x)
  ROOT %loop = (s32[], f32[8,4]{1,0}) while(%start), condition=%condition, body=%body
}
"""


def test_collectives_inside_a_loop_count_as_often_as_it_runs():
    moved = hlo.traffic(PROGRAM)
    whole = 32 * 4 * 4
    assert moved.counts == {"all-gather": 28, "reduce-scatter": 28, "all-reduce": 28}
    assert moved.collectives == {"all-gather": 28 * whole * 3 / 4, "reduce-scatter": 28 * whole * 3 / 4, "all-reduce": 28 * (whole / 4)}
    assert moved.open_loops == 0
    assert hlo.traffic(PROGRAM.replace("constant(28)", "parameter(1)")).open_loops == 1


def test_what_a_fusion_only_slices_counts_by_the_slice():
    """Also behind a copy inside the fusion that shares the memory of its operand: the TPU compiler gives the same bytes another tiling so."""
    shares = "output_to_operand_aliasing={{}: (0, {})}, "
    program = f"""HloModule step

%tiled (whole: s8[28,64,128]) -> s8[28,64,128] {{
  %whole = s8[28,64,128]{{2,1,0:T(32,128)(4,1)}} parameter(0)
  ROOT %copy = s8[28,64,128]{{2,1,0:T(8,128)(4,1)}} copy(%whole)
}}

%sliced (cache: s8[28,64,128], layer: s32[]) -> s8[1,64,128] {{
  %cache = s8[28,64,128]{{2,1,0:T(32,128)(4,1)}} parameter(0)
  %layer = s32[] parameter(1)
  %zero = s32[] constant(0)
  %same = s8[28,64,128]{{2,1,0:T(8,128)(4,1)}} fusion(%cache), kind=kLoop, {shares}calls=%tiled
  ROOT %slice = s8[1,64,128]{{2,1,0:T(8,128)(4,1)}} dynamic-slice(%same, %layer, %zero, %zero), dynamic_slice_sizes={{1,64,128}}
}}

ENTRY %main (x: s8[28,64,128], n: s32[]) -> s8[1,64,128] {{
  %x = s8[28,64,128]{{2,1,0:T(32,128)(4,1)}} parameter(0)
  %n = s32[] parameter(1)
  ROOT %one = s8[1,64,128]{{2,1,0:T(8,128)(4,1)}} fusion(%x, %n), kind=kLoop, calls=%sliced
}}
"""
    read_and_written = 2 * 64 * 128 + 4
    assert hlo.traffic(program).memory == read_and_written
    assert hlo.traffic(program.replace(shares, "")).memory == read_and_written + 27 * 64 * 128


def test_the_figure_of_a_program_that_the_compiler_refuses():
    only_temporaries = "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (43.50G) exceeds available HBM (15.75G)."
    assert refused_memory(only_temporaries, 2**30).temporaries == 43.5 * 2**30
    everything = "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.00G of 15.75G hbm. Exceeded hbm capacity by 4.25G."
    assert refused_memory(everything, 2**30).total == 20 * 2**30


def test_what_looks_at_renders_is_counted_beside_every_step():
    look = ["--config.reward.alpha=0.0", "--config.reward.visual=0.9", "--config.visual.weights=none", "--config.visual.model=resnet18", "--config.visual.side=28"]
    taken = {}
    for device in ("cpu", "policy"):
        _, planned = planned_step("stage1_shared_first_turn", [*RL, *look, f"--config.visual.device={device}"])
        taken[device] = planned.looking.held
        with jax.set_mesh(planned.mesh):
            rollout = steps.Rollout(planned, beside=100 + planned.looking.held)
            rollout.params = planned.learner.abstract.params
            if device == "policy":
                step = rollout.look()
    assert taken["cpu"] == 0 and taken["policy"] == 4 * (11_689_512 - 513_000 + 2 * 4_800)
    assert step.compiled.held["observer"] == taken["policy"] and step.beside == rollout.besides({}) - taken["policy"] + held_bytes(rollout.params)
    assert step.runs == (2 * (1 + 2) + 2) * 13  # two charts, a shared turn and two rows each; renders and targets of 12 tiles and a thumbnail
